// A cutover that converts: all of it within one hold of the VM, and where it fails, it is said where the source is.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, open, readFile, symlink } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, test } from "node:test";
import { nfcPort, runCommand } from "../../e2e/cli-commands.ts";
import {
  assertFailure,
  assertMoved,
  assertNoSnapshot,
  migrateWell,
} from "../../e2e/migrate-checks.ts";
import { breachesOf } from "../../lab/json-schema.ts";
import { startCli } from "../../lab/run-cli.ts";
import { type Lab, startLab } from "../../lab/start-lab.ts";
import type { LabVm } from "../../lab/vcenter/lab-vm.ts";
import type { CutoverOutcome } from "./fixtures/cutover.ts";
import { writes } from "./fixtures/plain-writes.ts";

const fixture = join(import.meta.dirname, "fixtures/cutover.ts");
const node = join(import.meta.dirname, "../../../.ci/node");

let lab: Lab;
before(async () => {
  const fill = { seed: 5, dataRatio: 0.6, zeroRatio: 0.1 };
  const disks = [
    { capacityBytes: 4 << 20, fill },
    { capacityBytes: 2 << 20, fill },
  ];
  const vms = ["moved", "refused", "watched", "encrypted"].map((name) => ({ name, disks }));
  lab = await startLab({ targets: "direct", vms });
});
after(() => lab?.stop());

/** `onLine` sees the log. */
async function cutover(
  vm: LabVm,
  verdict: string,
  more: string[] = [],
  onLine: (line: string) => void = () => {},
): Promise<CutoverOutcome & { readonly log: string }> {
  const [, ...args] = lab.migrateArgs(vm, { extra: ["--yes", "--convert", ...more] });
  const env = { ...process.env, MIGRATEKIT_VDDK_NFC_PORT: nfcPort(lab) };
  const child = spawn(node, [fixture, verdict, "cutover", ...args], { env });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (part: string) => {
    log += part;
    onLine(part);
  });
  const [stdout] = await Promise.all([text(child.stdout), once(child, "close")]);
  assert.notEqual(stdout, "", log);
  return { ...(JSON.parse(stdout) as CutoverOutcome), log };
}

const filesOf = (vm: LabVm) => lab.targets.disksOf(vm).map(({ targetFile }) => targetFile);

async function contentOf(vm: LabVm): Promise<Buffer[]> {
  return await Promise.all(filesOf(vm).map((file) => readFile(file)));
}

const rollback = (vm: LabVm) =>
  startCli({
    args: [
      "rollback",
      "--state-dir",
      lab.stateDir,
      "--vmware-path",
      vm.path,
      "--target-drop-time",
      "0s",
    ],
  }).result;

test("the last state is converted on all targets, and the rollback lets syncs go on", async () => {
  const vm = lab.vm("moved");
  await migrateWell(lab, vm);
  await vm.guest.start({ seed: 3, intervalMs: 5, maximumBytes: 65_536 });
  const { result, log } = await cutover(vm, "boots", ["--verify"]);
  await vm.guest.stop();
  assert.ok(result, log);
  assert.deepEqual(breachesOf("cutover", { status: "completed", exit_code: 0, ...result }), []);
  assert.equal(result.conversion?.verdict, "boots");
  assert.equal(result.applied?.disks.length, 2);
  assert.ok(result.downtime_ms >= result.final_sync.duration_ms);
  assert.equal(vm.record.powerState, "poweredOff");
  for (const [index, target] of (await contentOf(vm)).entries()) {
    const expected = await readFile(vm.disks[index]!.imagePath);
    for (const { byte, offset, length } of writes) expected.fill(byte, offset, offset + length);
    assert.ok(target.subarray(0, expected.length).equals(expected), `disk ${index}`);
  }
  assertFailure(await lab.migrate(vm), 7, /\[cut-over\]/);

  const back = await rollback(vm);
  assert.equal(back.code, 0, back.stderr);
  await assertMoved(lab, vm);
  vm.setPowerState("poweredOn");
  await vm.randomWrites(2000, { seed: 2, writes: 5 });
  assert.equal((await migrateWell(lab, vm)).sync_type, "incremental");
});

test("where the guest would not boot, no target is touched, and the source is on again only where that was asked for", async () => {
  const vm = lab.vm("refused");
  await migrateWell(lab, vm);
  const refused = await cutover(vm, "will-not-boot");
  assert.equal(refused.failure?.error.code, "guest-will-not-boot", refused.log);
  assert.equal(refused.power?.state, "poweredOff");
  assert.match(
    refused.power?.text ?? "",
    /not converted, and nothing runs from them: run the cutover again .*power the VM on/,
  );
  await assertMoved(lab, vm);
  const again = await cutover(vm, "will-not-boot", ["--power-on-source"]);
  assert.equal(again.failure?.error.code, "guest-will-not-boot");
  assert.equal(again.power?.state, "poweredOn");
  assert.match(again.power?.text ?? "", /powered on again, as --power-on-source asked/);
  assert.equal(vm.record.powerState, "poweredOn");
  assertNoSnapshot(vm);
  assert.equal((await migrateWell(lab, vm)).sync_type, "incremental");
});

test("a VM that somebody powers on while it is converted is not called moved, and its targets stay as synced", async () => {
  const vm = lab.vm("watched");
  await migrateWell(lab, vm);
  let before: Promise<unknown> | undefined;
  const run = await cutover(vm, "boots", [], (line) => {
    if (!line.includes("converting the guest")) return;
    vm.setPowerState("poweredOn");
    before ??= Promise.all(filesOf(vm).map((file) => copyFile(file, `${file}.before`)));
  });
  await before;
  assert.equal(run.failure?.error.code, "power-state-changed", run.log);
  for (const file of filesOf(vm)) {
    const [now, then] = await Promise.all([readFile(file), readFile(`${file}.before`)]);
    assert.ok(now.equals(then), file);
  }
  await migrateWell(lab, vm);
});

test("what a conversion needs is looked for before the guest is shut down", async () => {
  const vm = lab.vm("watched");
  const bin = join(lab.dir, "bin");
  await mkdir(bin);
  await symlink("/usr/bin/dirname", join(bin, "dirname"));
  const extra = ["--yes", "--convert"];
  const run = await runCommand(lab, "cutover", vm, { extra }, { PATH: bin });
  assert.match(run.stderr, /error \[guest-tool-missing\].*virt-v2v/);
  assert.equal(run.code, 9, run.stderr);
  assert.equal(vm.record.powerState, "poweredOn");
});

test("an encrypted disk that nothing opens is told before the guest is shut down", async () => {
  const vm = lab.vm("encrypted");
  await using file = await open(vm.disks[1]!.imagePath, "r+");
  await file.write(Buffer.from("\xeb\x58\x90-FVE-FS-", "latin1"), 0, 11, 0);
  const { failure, log } = await cutover(vm, "boots");
  assert.equal(failure?.error.code, "guest-unsupported", log);
  assert.match(failure.error.message, /^disk-2001 is encrypted with BitLocker/);
  assert.equal(vm.record.powerState, "poweredOn");
  assertNoSnapshot(vm);
});
