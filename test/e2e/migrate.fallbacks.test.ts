import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { beforeEach, test } from "node:test";
import { compareFiles } from "../lab/compare.ts";
import { startLab } from "../lab/start-lab.ts";
import { startNbdkit, startNbdkitTarget } from "../lab/targets.ts";
import { migrateWell } from "./migrate-checks.ts";
import { lab, vm } from "./my-vm.ts";

beforeEach(async () => {
  await vm.randomWrites(2000, { seed: Math.trunc(performance.now()), writes: 5 });
});

const wholeAgain: [string, () => void | Promise<void>, RegExp][] = [
  ["tracking was reset", () => lab.vcenter.faults.add({ name: "cbtReset", count: 1 }), /was reset/],
  [
    "vSphere answers FileFault",
    // The question for changes strikes it, the one for allocated areas does not.
    () => lab.vcenter.faults.add({ name: "fileFault", count: 1 }),
    /could not tell what changed/,
  ],
];

for (const [title, arrange, reason] of wholeAgain) {
  test(`when ${title}, everything is copied, and the reason is logged`, async () => {
    await migrateWell(lab, vm);
    await vm.randomWrites(2000, { seed: 5, writes: 5 });
    await arrange();
    const summary = await migrateWell(lab, vm, { jobId: `reason-${title}` });
    assert.equal(summary.disks[0]!.sync_type, "full");
    assert.match(summary.disks[0]!.reason, reason);
    assert.match(summary.log, reason);
    const posted = lab.vma.updatesOf(`reason-${title}`).filter(({ body }) => body.disk_id);
    assert.match(posted.at(-1)?.body.sync_reason ?? "", reason);
  });
}

test("when the disk grew, everything is copied", async () => {
  const grown = await lab.addVm({
    name: "grows01",
    disks: [{ capacityBytes: 8 << 20, fill: { seed: 4, dataRatio: 0.5, zeroRatio: 0.1 } }],
  });
  await migrateWell(lab, grown);
  const target = lab.targets.disksOf(grown)[0]!.targetFile;
  await grown.growDisk(2000, 9 << 20);
  const { truncate } = await import("node:fs/promises");
  await truncate(target, 9 << 20);
  const summary = await migrateWell(lab, grown);
  assert.equal(summary.disks[0]!.sync_type, "full");
  assert.match(summary.disks[0]!.reason, /capacity changed/);
});

test("when * is refused, a full copy goes by the source's extents", async () => {
  lab.vcenter.faults.add({ name: "starRefused" });
  const summary = await migrateWell(lab, vm, { extra: ["--full"] });
  assert.match(summary.log, /does not tell allocated areas/);
});

test("when * answers one whole-disk extent, nothing is believed of it", async () => {
  lab.vcenter.faults.add({ name: "starWholeDisk" });
  const summary = await migrateWell(lab, vm, { extra: ["--full"] });
  assert.equal(summary.disks[0]!.planned_bytes, vm.disks[0]!.record.capacityBytes);
});

test("what * leaves out is still asked of the source, also for a target of zeroes", async () => {
  const fresh = await lab.addVm({
    name: "left-out",
    disks: [{ capacityBytes: 8 << 20, fill: { seed: 8, dataRatio: 0.5, zeroRatio: 0.1 } }],
  });
  await fresh.write(2000, 5 << 20, Buffer.alloc(65_536, "left out"));
  lab.vcenter.faults.add({ name: "starLeavesOut", value: 5 << 20 });
  await migrateWell(lab, fresh, { extra: ["--target-is-zero"] });
});

test("when the source has no extents, all of it is read", async () => {
  await lab.vddk.setFaults({ no_extents: 1 });
  const before = (await lab.vddk.readUse()).length;
  await migrateWell(lab, vm, { extra: ["--full"] });
  const uses = (await lab.vddk.readUse()).slice(before);
  const read = uses.reduce((sum, use) => sum + use.bytes, 0);
  assert.ok(read >= vm.disks[0]!.record.capacityBytes, `${read} bytes read`);
});

test("when extents fail in the middle, the rest is read", async () => {
  await lab.vddk.setFaults({ extents_error_from: 16 << 20 });
  await migrateWell(lab, vm, { extra: ["--full"] });
});

test("empty pages and pages of no length are not the end of the changes", async () => {
  await migrateWell(lab, vm);
  await vm.randomWrites(2000, { seed: 77, writes: 20 });
  lab.vcenter.faults.add({ name: "emptyPage", count: 1 });
  await migrateWell(lab, vm);
  await vm.randomWrites(2000, { seed: 78, writes: 20 });
  lab.vcenter.faults.add({ name: "lengthZeroPage", count: 1 });
  await migrateWell(lab, vm);
});

test("when quiescing fails, a plain snapshot is taken and said", async () => {
  lab.vcenter.faults.add({ name: "quiesceFault", value: "ApplicationQuiesceFault", count: 1 });
  const summary = await migrateWell(lab, vm);
  assert.equal(summary.quiesced, false);
  assert.match(summary.log, /quiesce/);
});

test("a session that is lost in mid-copy is renewed", async () => {
  lab.vcenter.faults.add({ name: "notAuthenticatedAfter", value: 12, count: 1 });
  await migrateWell(lab, vm);
});

test("a snapshot task that vanishes is found by its work", async () => {
  lab.vcenter.faults.add({ name: "vanishedTask", method: "CreateSnapshot_Task", count: 1 });
  await migrateWell(lab, vm);
  lab.vcenter.faults.add({ name: "vanishedTask", method: "RemoveSnapshot_Task", count: 1 });
  await migrateWell(lab, vm);
});

test("a disk whose tracking stays off is copied in full each time", async () => {
  const untracked = await lab.addVm({
    name: "untracked01",
    disks: [{ capacityBytes: 4 << 20, fill: { seed: 9, dataRatio: 0.5, zeroRatio: 0.1 } }],
  });
  lab.vcenter.faults.add({ name: "cbtStaysOff", vm: "untracked01" });
  for (let run = 0; run < 2; run++) {
    const summary = await migrateWell(lab, untracked);
    assert.equal(summary.disks[0]!.sync_type, "full");
    assert.match(summary.disks[0]!.reason, /no changed block tracking/);
  }
});

test("a VM that cannot track changes is copied in full each time", async () => {
  const old = lab.vm("old01");
  for (let run = 0; run < 2; run++) {
    assert.equal((await migrateWell(lab, old)).disks[0]!.sync_type, "full");
  }
});

test("a target that knows neither write-zeroes nor extents is made zero in another way", async () => {
  const { capacityBytes } = vm.disks[0]!.record;
  const file = `${lab.dir}/no-zero.raw`;
  const logFile = `${lab.dir}/no-zero.log`;
  await writeFile(file, Buffer.alloc(capacityBytes, "what was here before "));
  await using server = await startNbdkitTarget({
    file,
    // The first filter is the outermost: the log sees what the client asks for.
    filters: ["log", "nozero", "noextents"],
    settings: ["zeromode=none", `logfile=${logFile}`],
  });
  const run = await lab.migrate(vm, {
    extra: ["--nbd-targets", `2000:${server.uri}`, "--json", "--full"],
  });
  assert.equal(run.code, 0, run.stderr);
  const { imagePath } = lab.frozenDisk(vm, 2000);
  const { equal, difference } = await compareFiles(imagePath, file, capacityBytes);
  assert.ok(equal, difference);
  const log = readFileSync(logFile, "utf8");
  assert.match(log, / Write /);
  assert.doesNotMatch(log, / Zero id/);
});

test("a target may take longer to flush than to answer anything else", async () => {
  const { capacityBytes } = vm.disks[0]!.record;
  const file = `${lab.dir}/slow-flush.raw`;
  await writeFile(file, Buffer.alloc(capacityBytes, "what was here before "));
  await using server = await startNbdkit([
    ...["eval", `get_size=echo ${capacityBytes}`, "thread_model=echo parallel"],
    ...["can_write=exit 0", "can_flush=exit 0", "flush=sleep 1.5"],
    `pread=dd if=${file} iflag=skip_bytes,count_bytes skip=$4 count=$3 bs=65536 status=none`,
    `pwrite=dd of=${file} oflag=seek_bytes seek=$4 bs=65536 conv=notrunc status=none`,
  ]);
  const limits = ["--stall-timeout", "1s", "--flush-timeout", "30s"];
  const run = await lab.migrate(vm, {
    extra: ["--nbd-targets", `2000:${server.uri}`, "--json", "--full", ...limits],
  });
  assert.equal(run.code, 0, run.stderr);
  assert.doesNotMatch(run.stderr, /trying again/);
  const { equal, difference } = await compareFiles(
    lab.frozenDisk(vm, 2000).imagePath,
    file,
    capacityBytes,
  );
  assert.ok(equal, difference);
});

test("qemu-nbd is as good a target as nbd-server", async () => {
  await using other = await startLab({ targets: "qemu-nbd" });
  const machine = other.vm("web01");
  await migrateWell(other, machine);
  await machine.randomWrites(2000, { seed: 3, writes: 10 });
  const summary = await migrateWell(other, machine);
  assert.equal(summary.disks[0]!.sync_type, "incremental");
});
