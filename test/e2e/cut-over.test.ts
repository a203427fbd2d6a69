// After a completed cutover a VM's volumes belong to the machine that runs from them.
import assert from "node:assert/strict";
import { copyFile, mkdir, open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { compareFiles } from "../lab/compare.ts";
import { startCli } from "../lab/run-cli.ts";
import { runCommand } from "./cli-commands.ts";
import { cutover, lab, vm } from "./cutover-lab.ts";
import { assertFailure, assertNoSnapshot, migrateWell } from "./migrate-checks.ts";

interface History {
  vms: { cut_over?: { at: string; run_id: string }; runs: { status: string }[] }[];
}

const capacityBytes = (4 << 20) + 512;

function history(...args: string[]) {
  return startCli({ args: ["history", "--state-dir", lab.stateDir, ...args] }).result;
}

async function status(jobId: string, ...extra: string[]) {
  const args = ["status", jobId, "--vma-url", lab.vma.url, "--state-dir", lab.stateDir, ...extra];
  const [text, json] = await Promise.all(
    [args, [...args, "--json"]].map((each) => startCli({ args: each }).result),
  );
  assert.equal(text!.code, 0, text!.stderr);
  const document = JSON.parse(json!.stdout) as { cut_over?: { at: string; run_id: string } };
  return { text: text!.stdout, document };
}

async function historyOfVm() {
  return (JSON.parse((await history("--json")).stdout) as History).vms[0];
}

/** The machine in CloudStack boots and writes to its volume; gives a copy of what it holds then. */
async function writeInCloudStack(): Promise<{ volume: string; copy: string }> {
  const volume = lab.targets.disksOf(vm)[0]!.targetFile;
  const copy = join(lab.dir, "as-cloudstack-left-it");
  await using file = await open(volume, "r+");
  await file.write(Buffer.alloc(8192, 7), 0, 8192, 1 << 20);
  await copyFile(volume, copy);
  return { volume, copy };
}

test("a comparison is not refused after a cutover", async () => {
  assert.equal((await cutover()).code, 0);
  const run = await runCommand(lab, "verify", vm);
  assert.equal(run.code, 0, run.stderr);
});

test("after a cutover nothing writes to the volume, and everything that would says why", async () => {
  assert.equal((await cutover()).code, 0);
  const { volume, copy } = await writeInCloudStack();
  vm.setPowerState("poweredOn");
  await vm.randomWrites(2000, { seed: 3, writes: 3 });
  const known = await historyOfVm();
  const { at, run_id: runId } = known?.cut_over ?? { at: "", run_id: "" };
  const cause = new RegExp(`\\[cut-over\\]: ${vm.path} was cut over at ${at} \\(run ${runId}\\)`);
  assert.ok(Date.parse(at) > 0 && runId !== "");
  const commands: [string, string[]][] = [
    ["migrate", []],
    ["migrate", ["--full", "--on-target-mismatch", "full", "--take-over-target"]],
    ["cutover", ["--yes"]],
    ["verify", ["--repair"]],
  ];
  for (const [command, extra] of commands) {
    assertFailure(await runCommand(lab, command, vm, { extra }), 7, cause, /--reopen/);
    const { equal } = await compareFiles(copy, volume, capacityBytes);
    assert.ok(equal, `${command} ${extra.join(" ")} wrote`);
  }
  assertNoSnapshot(vm);
  assert.equal(vm.record.powerState, "poweredOn");

  const check = await runCommand(lab, "check", vm);
  assert.equal(check.code, 7, check.stdout);
  assert.match(check.stdout, /was cut over at/);
  assert.match((await history()).stdout, new RegExp(`, cut over at ${at} \\(run ${runId}\\)`));
  assert.deepEqual((await historyOfVm())?.runs, known?.runs, "a refusal is no failed run");
});

test("status shows the cutover of the job's VM, which it finds by the run or by --vmware-path", async () => {
  await migrateWell(lab, vm, { jobId: "sync-7", extra: ["--full"] });
  const before = await status("sync-7");
  assert.match(before.text, /^sync-7: completed, .* MiB$/m);
  assert.equal("cut_over" in before.document, false);
  assert.equal((await cutover()).code, 0);
  const { at, run_id: runId } = (await historyOfVm())!.cut_over!;
  const byRun = await status("sync-7");
  assert.match(
    byRun.text,
    new RegExp(`^sync-7: completed, .*, cut over at ${at} \\(run ${runId}\\)$`, "m"),
  );
  assert.deepEqual(byRun.document.cut_over, { at, run_id: runId });

  // A job that no run of this state directory had.
  const elsewhere = ["--state-dir", join(lab.dir, "elsewhere")];
  await migrateWell(lab, await lab.addVm({ name: "other", disks: [{ capacityBytes: 1 << 20 }] }), {
    jobId: "sync-8",
    extra: elsewhere,
  });
  assert.equal((await status("sync-8")).document.cut_over, undefined);
  const endpoint = ["--vmware-endpoint", lab.vcenter.endpoint];
  for (const known of [[], endpoint]) {
    const byPath = await status("sync-8", "--vmware-path", vm.path, ...known);
    assert.equal(byPath.document.cut_over?.run_id, runId);
  }
  const elsewhereAt = ["--vmware-path", vm.path, "--vmware-endpoint", "other.example"];
  assert.equal((await status("sync-8", ...elsewhereAt)).document.cut_over, undefined);
});

test("a state that cannot be read keeps nobody from a job's status", async () => {
  await migrateWell(lab, vm, { jobId: "sync-9", extra: ["--full"] });
  const dir = join(lab.dir, "damaged");
  await mkdir(dir, { mode: 0o700 });
  await writeFile(join(dir, "migratekit.db"), "no database at all", { mode: 0o600 });
  const args = ["status", "sync-9", "--vma-url", lab.vma.url, "--state-dir", dir];
  const { code, stdout, stderr } = await startCli({ args }).result;
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^sync-9: completed, /);
  assert.match(stderr, /whether the VM was rehearsed, converted or cut over is not known/);
});

test("--reopen says what is lost, lets the VM be copied again, and is needed once", async () => {
  assert.equal((await cutover()).code, 0);
  await writeInCloudStack();
  vm.setPowerState("poweredOn");
  const flags = ["--reopen"];
  const check = await runCommand(lab, "check", vm, { extra: flags });
  assert.equal(check.code, 0, check.stdout);
  assert.match(check.stdout, /what was written to the volumes since then is lost/);
  const summary = await migrateWell(lab, vm, { extra: flags });
  // A machine that boots touches what is looked at; what this one wrote is nowhere near.
  assert.equal(summary.sync_type, "full");
  assert.match(summary.log, /--reopen: the cutover of 20\S+ \(run \S+\) does not count any more/);
  assert.equal((await historyOfVm())?.cut_over, undefined);
  await migrateWell(lab, vm);
});

test("a cutover that does not complete leaves the VM open", async () => {
  lab.vcenter.faults.add({ name: "guestIgnoresShutdown" });
  assert.equal((await cutover("--shutdown-timeout", "1s")).code, 3);
  await migrateWell(lab, vm);
});
