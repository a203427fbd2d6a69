// What a person at a terminal sees of an interruption, and what stays known of it.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { Screen } from "../progress/screen.ts";
import { until } from "../until.ts";
import { assertNoSnapshot } from "./migrate-checks.ts";
import { startAtTerminal, type TerminalRun } from "./terminal.ts";

let lab: Lab;
let vm: LabVm;
before(async () => {
  lab = await startLab({ targets: "direct" });
  vm = lab.vm("MyVM");
});
after(() => lab.stop());
beforeEach(async () => {
  lab.vcenter.faults.clear();
  await lab.vddk.setFaults({ delay_us: 400_000, aio_threads: 1 });
});

const columns = 300;
const ctrlC = "\u0003";

async function untilCopying(jobId: string): Promise<void> {
  await until(`${jobId} copies`, () => {
    const newest = lab.vma.updatesOf(jobId).at(-1)?.body;
    return newest?.stage === "Transfer" && newest.bytes_transferred > 0;
  });
}

/** Makes the removal of the snapshot take a while; resolves when it has begun. */
async function slowRemoval(): Promise<void> {
  const removals = () =>
    lab.vcenter.log.calls.filter(({ method }) => method === "RemoveSnapshot_Task").length;
  const before = removals();
  lab.vcenter.faults.add({ name: "slowTasks", value: 3000, count: 1 });
  await until("the snapshot is being removed", () => removals() > before);
}

/** The lines that stand on the terminal now. */
function shownBy(run: Pick<TerminalRun, "output">): string[] {
  // The command to type next is as long as what was typed: a terminal wraps it, which is no matter here.
  const screen = new Screen(columns + 1000);
  screen.write(run.output());
  return screen.lines();
}

test("Ctrl-C at a terminal: its answer stays to be read, no bar says copying, the last lines say what is next", async () => {
  const args = lab.migrateArgs(vm, { jobId: "ctrl-c", extra: ["--full"] });
  const run = startAtTerminal({ args, columns });
  await untilCopying("ctrl-c");
  run.child.stdin!.write(ctrlC);
  await slowRemoval();
  await until("the bars say so", () => shownBy(run).some((line) => line.includes("removing the")));
  const during = shownBy(run);
  const [disk, total] = during.slice(-2);
  assert.match(disk!, /^disk-2000 .* interrupted$/);
  assert.match(total!, /^total .* removing the snapshot$/);
  assert.doesNotMatch(`${disk}${total}`, /ETA|B\/s/);
  const answer = /SIGINT: finishing politely; once more to stop at once/;
  assert.ok(
    during.slice(0, -2).some((line) => answer.test(line)),
    during.join("\n"),
  );

  const { code } = await run.result;
  assert.equal(code, 130);
  const shown = shownBy(run);
  assert.ok(
    shown.some((line) => answer.test(line)),
    "it stays to the end",
  );
  assert.equal(shown.at(-1), "migrate was interrupted by SIGINT");
  const closing = shown.slice(
    shown.findIndex((line) => /^\/.* sync of 1 disk interrupted/.test(line)),
  );
  assert.match(closing[2]!, /^disk-2000( +[\d.]+ (MiB|B)){5} .* interrupted$/);
  assert.match(closing[3]!, /^snapshot {2}removed$/);
  assert.match(
    closing[4]!,
    /^journal {3}disk-2000: full copy, [\d.]+ (MiB|KiB|B) are on the target/,
  );
  assert.match(closing[5]!, /^next {6}to go on, from what is copied: migratekit migrate --vmware/);
  assertNoSnapshot(vm);
});

test("the history of an interrupted run says how much it copied", async () => {
  const args = lab.migrateArgs(vm, { jobId: "amount", extra: ["--full"] });
  const run = startCli({ args });
  await untilCopying("amount");
  run.child.kill("SIGTERM");
  await run.result;
  const history = ["history", "--state-dir", lab.stateDir, "--vmware-path", vm.path, "--json"];
  const { vms } = JSON.parse((await startCli({ args: history }).result).stdout) as {
    vms: { runs: { status: string; disks: { copied_bytes: number; finished: boolean }[] }[] }[];
  };
  const [{ status, disks }] = vms[0]!.runs as [(typeof vms)[0]["runs"][0]];
  assert.equal(status, "interrupted");
  assert.equal(disks[0]!.finished, false);
  const posted = lab.vma.updatesOf("amount").at(-1)!.body.bytes_transferred;
  assert.ok(disks[0]!.copied_bytes > 0, "it copied something");
  assert.ok(disks[0]!.copied_bytes <= posted, "and no more than was told");
});

test("a terminal that closes sends SIGHUP more than once: the run still ends politely", async () => {
  const run = startCli({ args: lab.migrateArgs(vm, { jobId: "hup", extra: ["--full"] }) });
  await untilCopying("hup");
  let told = "";
  run.child.stderr!.on("data", (chunk: Buffer) => {
    told += chunk;
  });
  run.child.kill("SIGHUP");
  await until("the first was heard", () => told.includes("SIGHUP: finishing politely"));
  run.child.kill("SIGHUP");
  const result = await run.result;
  assert.equal(result.signal, "SIGHUP", result.stderr);
  assertNoSnapshot(vm);
  assert.equal(lab.vma.updatesOf("hup").at(-1)?.body.status, "failed");
});
