import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { copyFile, open, truncate } from "node:fs/promises";
import { after, before, test } from "node:test";
import { totalBytes } from "../../src/ranges.ts";
import { StateDatabase } from "../../src/state/database/database.ts";
import { DiskRecords } from "../../src/state/disk-records.ts";
import { JournalStore } from "../../src/state/journal.ts";
import { startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import { createVolume, startNbdServer } from "../lab/targets.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { until } from "../until.ts";
import { assertFailure, migrateWell } from "./migrate-checks.ts";

let lab: Lab;
let vm: LabVm;
let target: string;
before(async () => {
  lab = await startLab({ targets: "direct" });
  vm = lab.vm("MyVM");
  target = lab.targets.disksOf(vm)[0]!.targetFile;
});
after(() => lab.stop());

const block = 65_536;

async function writeAt(offset: number, data: Buffer): Promise<void> {
  await using file = await open(target, "r+");
  await file.write(data, 0, data.length, offset);
}

async function flipByte(offset: number): Promise<void> {
  await using file = await open(target, "r+");
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, offset);
  await file.write(Buffer.from([byte[0]! ^ 0xff]), 0, 1, offset);
}

function identity() {
  const { instanceUuid } = vm.record;
  return { endpoint: lab.vcenter.endpoint, instanceUuid, vmPath: vm.path };
}

function samples() {
  using state = StateDatabase.open(lab.stateDir);
  return new DiskRecords(state).readDiskRecord(identity(), 2000)!.samples;
}

function finishedBytes(): number {
  using state = StateDatabase.open(lab.stateDir);
  const journal = new JournalStore(state).openJournal(identity(), 2000);
  return totalBytes(journal?.finished ?? new Float64Array(0));
}

const tampering: [string, () => Promise<void>][] = [
  [
    "wiped",
    async () => {
      await truncate(target, 0);
      await truncate(target, vm.disks[0]!.record.capacityBytes);
    },
  ],
  [
    "replaced by another volume of equal size",
    async () => {
      const { capacityBytes } = vm.disks[0]!.record;
      await writeAt(0, Buffer.alloc(capacityBytes, "another volume "));
    },
  ],
  [
    "restored to an older state",
    async () => {
      await copyFile(target, `${target}.old`);
      await vm.randomWrites(2000, { seed: 41, writes: 60, zeroRatio: 0 });
      await migrateWell(lab, vm);
      await copyFile(`${target}.old`, target);
    },
  ],
  ["changed in one sampled block", async () => flipByte(samples()[7]!.offset + 4321)],
  ["changed in its first MiB", async () => flipByte(12 * block + 5)],
  ["changed in its last sector", async () => flipByte(vm.disks[0]!.record.capacityBytes - 300)],
];

const asked = { extra: ["--on-target-mismatch", "full"] };
const remedy = /--full or --on-target-mismatch full/;

for (const [title, tamper] of tampering) {
  test(`a target that was ${title} is refused; where it is asked for, everything is copied`, async () => {
    await migrateWell(lab, vm);
    await tamper();
    await vm.randomWrites(2000, { seed: 3, writes: 2 });
    const found = createHash("sha256").update(readFileSync(target)).digest("hex");
    const refused = await lab.migrate(vm);
    assertFailure(refused, 5, /\[target-mismatch\].*differs at offset \d+/, remedy);
    const left = createHash("sha256").update(readFileSync(target)).digest("hex");
    assert.equal(left, found, "nothing was written");
    const summary = await migrateWell(lab, vm, asked);
    assert.equal(summary.disks[0]!.sync_type, "full");
    assert.match(summary.disks[0]!.reason, /not what the last run left/);
  });
}

test("--full goes over a changed target without another word", async () => {
  await migrateWell(lab, vm);
  await flipByte(100);
  const summary = await migrateWell(lab, vm, { extra: ["--full"] });
  assert.equal(summary.disks[0]!.reason, "--full was given");
});

test("a copy that is full for another reason does not go over a changed target either", async () => {
  await migrateWell(lab, vm);
  await flipByte(100);
  lab.vcenter.faults.add({ name: "cbtReset", count: 1 });
  assertFailure(await lab.migrate(vm), 5, /\[target-mismatch\].*differs at offset 0/, remedy);
  lab.vcenter.faults.clear();
  const summary = await migrateWell(lab, vm, asked);
  assert.match(summary.disks[0]!.reason, /was reset/);
  assert.match(summary.log, /differs at offset 0; everything is copied over it/);
});

test("another volume is refused until a copy onto it is asked for", async () => {
  await migrateWell(lab, vm);
  const file = `${target}.other`;
  await createVolume(file, vm.disks[0]!.record.capacityBytes);
  const exports = [{ name: "other", file }];
  await using server = await startNbdServer({ exports, folder: `${lab.dir}/other` });
  const extra = ["--nbd-targets", `2000:${server.uri}`];
  assertFailure(await lab.migrate(vm, { extra }), 5, /\[target-mismatch\].*the target was/, remedy);
  const run = await lab.migrate(vm, { extra: [...extra, ...asked.extra, "--json"] });
  assert.equal(run.code, 0, run.stderr);
  assert.equal(JSON.parse(run.stdout).sync_type, "full");
  await migrateWell(lab, vm, asked);
});

test("an untouched target is never refused, whatever was changed on the source", async () => {
  await migrateWell(lab, vm);
  for (let cycle = 0; cycle < 6; cycle++) {
    await vm.randomWrites(2000, { seed: 100 + cycle, writes: 15 });
    const summary = await migrateWell(lab, vm);
    assert.equal(summary.disks[0]!.sync_type, "incremental");
  }
});

test("a change ID from elsewhere is used only onto a target that agrees with what did not change", async () => {
  const env = { MIGRATEKIT_JOB_ID: "foreign" };
  const first = await migrateWell(lab, vm, {}, env);
  const changeId = first.disks[0]!.change_id!;
  await vm.randomWrites(2000, { seed: 61, writes: 4 });
  const elsewhere = { extra: ["--state-dir", `${lab.dir}/fresh-1`] };
  const second = await migrateWell(lab, vm, elsewhere, env);
  assert.equal(second.disks[0]!.sync_type, "incremental");
  assert.match(second.disks[0]!.reason, /from elsewhere/);

  lab.oma.setChangeId(vm.path, "disk-2000", changeId);
  await truncate(target, 0);
  await truncate(target, vm.disks[0]!.record.capacityBytes);
  const unknown = { extra: ["--state-dir", `${lab.dir}/fresh-2`] };
  const differs = /\[target-mismatch\].*from what did not change since/;
  assertFailure(await lab.migrate(vm, unknown, env), 5, differs, remedy);
  const third = await migrateWell(lab, vm, { extra: [...unknown.extra, ...asked.extra] }, env);
  assert.equal(third.disks[0]!.sync_type, "full");
});

test("a change ID from elsewhere is checked in the data also where vSphere calls everything allocated", async () => {
  const env = { MIGRATEKIT_JOB_ID: "blind" };
  const machine = await lab.addVm({ name: "blind01", disks: [{ capacityBytes: 256 * block }] });
  // Nothing in the first and last MiB, nor at the beginning of any 64th part.
  for (let at = 18 * block; at < 230 * block; at += 4 * block) {
    await machine.write(2000, at, Buffer.alloc(block, "data"));
  }
  await migrateWell(lab, machine, {}, env);
  const { targetFile } = lab.targets.disksOf(machine)[0]!;
  lab.vcenter.faults.add({ name: "starWholeDisk" });
  const elsewhere = (number: number) => ["--state-dir", `${lab.dir}/blind-${number}`];
  const agreed = await migrateWell(lab, machine, { extra: elsewhere(1) }, env);
  assert.match(agreed.disks[0]!.reason, /from elsewhere/);
  await truncate(targetFile, 0);
  await truncate(targetFile, 256 * block);
  const refused = await lab.migrate(machine, { extra: elsewhere(2) }, env);
  lab.vcenter.faults.clear();
  assertFailure(refused, 5, /\[target-mismatch\].*from what did not change since/, remedy);
});

test("after a copy that died, a target that lost what was finished is copied in full", async () => {
  await migrateWell(lab, vm, { extra: ["--full"] });
  await lab.vddk.setFaults({ delay_us: 200_000, aio_threads: 1 });
  const extra = ["--full", "--source-connections", "1"];
  const run = startCli({ args: lab.migrateArgs(vm, { extra }) });
  await until("something is journaled", () => finishedBytes() >= 1 << 20);
  run.child.kill("SIGKILL");
  await run.result;
  await lab.vddk.setFaults({});
  await truncate(target, 0);
  await truncate(target, vm.disks[0]!.record.capacityBytes);
  const summary = await migrateWell(lab, vm);
  assert.equal(summary.disks[0]!.resumed, false);
  assert.match(summary.disks[0]!.reason, /does not hold what the interrupted run wrote/);
  assert.match(summary.log, /copying everything instead of resume/);
});

test("--target-is-zero left in a cron line is not believed once the target was written", async () => {
  const machine = lab.vm("cold01");
  const flags = { extra: ["--target-is-zero"] };
  await migrateWell(lab, machine, flags);
  await machine.write(2000, 0, { zeroLength: 4 << 20 });
  const summary = await migrateWell(lab, machine, { extra: ["--target-is-zero", "--full"] });
  assert.match(summary.log, /--target-is-zero is not used/);
});
