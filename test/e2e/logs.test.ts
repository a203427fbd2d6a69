// The log of a run, as a program reads it.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { type CliResult, startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { until } from "../until.ts";
import { connectionArgs } from "./cli-commands.ts";

const fill = { seed: 4, dataRatio: 0.5, zeroRatio: 0.1 };

let lab: Lab;
let vms: readonly LabVm[];
before(async () => {
  const disk = { capacityBytes: 2 << 20, fill };
  lab = await startLab({
    targets: "direct",
    vms: ["web01", "web02"].map((name) => ({ name, disks: [disk] })),
  });
  vms = lab.vcenter.vms;
});
after(() => lab.stop());
beforeEach(async () => {
  lab.vcenter.faults.clear();
  await lab.vddk.setFaults({});
});

/** The names in an object's text, those of objects within it left out. */
function namesIn(line: string): string[] {
  const names: string[] = [];
  let depth = 0;
  for (const [token, text] of line.matchAll(
    /"((?:[^"\\]|\\.)*)"(?=\s*:)|"(?:[^"\\]|\\.)*"|[{}[\]]/g,
  )) {
    if (token === "{" || token === "[") depth++;
    else if (token === "}" || token === "]") depth--;
    else if (text !== undefined && depth === 1) names.push(text);
  }
  return names;
}

async function runList(extra: readonly string[]): Promise<CliResult> {
  const entries = vms.map(
    (vm) =>
      `  - vmware-path: "${vm.path}"\n    nbd-export-name: "${lab.targets.exportTemplate(vm)}"\n    job-id: "job-${vm.name}"\n`,
  );
  const path = join(lab.dir, "list.yaml");
  await writeFile(path, `vms:\n${entries.join("")}`);
  const [, ...args] = lab.migrateArgs(vms[0]!);
  const dropped = ["--vmware-path", "--nbd-export-name", "--job-id"];
  const kept = args.filter((_, at) => !dropped.includes(args[at - (at % 2)]!));
  return await startCli({ args: ["migrate", ...kept, "--vms", path, ...extra] }).result;
}

test("a line has every field once, says which VM and which run it is of, and a snapshot by a name of its own", async () => {
  // A run that is killed leaves its snapshot; quiescing fails; a read fails once.
  await lab.vddk.setFaults({ delay_us: 400_000, aio_threads: 1 });
  const dying = startCli({ args: lab.migrateArgs(vms[0]!, { jobId: "dies" }) });
  await until("it copies", () => lab.vma.jobs.get("dies")?.stage === "Transfer");
  dying.child.kill("SIGKILL");
  await dying.result;
  await lab.vddk.setFaults({ read_error_at: 4096, read_error_at_count: 1 });
  lab.vcenter.faults.add({ name: "quiesceFault", value: "ApplicationQuiesceFault", vm: "web02" });
  const run = await runList(["--debug"]);
  assert.equal(run.code, 0, run.stderr);
  const lines = run.stderr.trimEnd().split("\n");
  for (const line of lines) {
    const names = namesIn(line);
    assert.equal(new Set(names).size, names.length, line);
    assert.ok(!names.includes("name"), line);
  }
  const records = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  const said = (text: RegExp) => records.filter(({ msg }) => text.test(String(msg)));
  const [removed] = said(/^removing the snapshot of a run that died/);
  assert.match(String(removed?.snapshotName), /^migratekit/);
  assert.match(String(removed?.snapshot), /^snapshot-/);
  assert.equal(said(/could not be quiesced/)[0]?.vm, "web02");
  const copies = said(/ copy, because /);
  assert.equal(copies.length, 2);
  assert.equal(new Set(copies.map(({ runId }) => runId)).size, 2, "each run has its own ID");
  for (const { runId, vm } of copies) assert.ok(runId && vm);
});

test("with --log-format json stderr is JSON and nothing else, however the run ends", async () => {
  const [vm] = vms as [LabVm];
  const json = ["--log-format", "json"];
  const run = (extra: readonly string[] = []) =>
    startCli({ args: lab.migrateArgs(vm, { jobId: "json", extra: [...json, ...extra] }) });
  const last = ({ stderr }: CliResult): Record<string, unknown> =>
    stderr
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .at(-1)!;

  assert.match(String(last(await run().result).msg), /sync of 1 disk complete/);
  const wrong = await run(["--nbd-port", "70000"]).result;
  assert.deepEqual([wrong.code, last(wrong).code], [2, "usage"]);
  assert.match(String(last(wrong).remedy), /Correct the flag/);
  await lab.vddk.setFaults({ nfc_refuse: 1 });
  const refused = await run().result;
  assert.deepEqual([refused.code, last(refused).code], [4, "source-unreachable"]);
  await lab.vddk.setFaults({ delay_us: 400_000, aio_threads: 1 });
  const stopped = run(["--full"]);
  await until("it copies", () => lab.vma.jobs.get("json")?.stage === "Transfer");
  stopped.child.kill("SIGTERM");
  const end = last(await stopped.result);
  assert.deepEqual([end.code, end.signal], ["interrupted", "SIGTERM"]);
});

test("with --log-format pretty lines are words in a pipe, too, and hold no JSON", async () => {
  const args = ["check", ...connectionArgs(lab, vms[0]!), "--log-format", "pretty", "--debug"];
  const { stderr } = await startCli({ args }).result;
  assert.ok(!stderr.includes('{"') && !stderr.includes("\u001b"), stderr);
  const run = await runList(["--log-format", "pretty"]);
  assert.equal(run.code, 0, run.stderr);
  assert.match(run.stderr, /^\[\d\d:\d\d:\d\dZ\] INFO: web02: disk-2000: incremental copy/m);
  assert.ok(!run.stderr.includes('{"') && !run.stderr.includes("\u001b"), run.stderr);
});
