// A target that somebody mounted, or booted, between two syncs of a machine with real file systems.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import {
  btrfs,
  ext4,
  type FileSystem,
  makeVolume,
  mountReally,
  ntfs,
  onLvm,
  type Place,
  partitioned,
  type Volume,
  writeAt,
  xfs,
} from "../volume/images.ts";
import { migrateWell } from "./migrate-checks.ts";

let lab: Lab;
before(async () => {
  lab = await startLab({ targets: "direct" });
});
after(() => lab.stop());

const mebibyte = 1 << 20;

async function machineWith(name: string, system: FileSystem, place: Place) {
  const volume = await makeVolume(join(lab.dir, name), system, place);
  const content = await readFile(volume.path);
  const vm = await lab.addVm({ name, disks: [{ capacityBytes: content.length }] });
  for (let at = 0; at < content.length; at += mebibyte) {
    const block = content.subarray(at, at + mebibyte);
    if (block.some((byte) => byte !== 0)) await vm.write(2000, at, block);
  }
  return { vm, volume };
}

/** Exactly what the mount writes, but for what is in the first MiB of the disk. */
async function mountTarget(vm: LabVm, { offsetBytes, mountWrites }: Volume): Promise<void> {
  const { targetFile } = lab.targets.disksOf(vm)[0]!;
  for (const { offset, bytes } of mountWrites) {
    await writeAt(targetFile, offsetBytes + offset, bytes);
  }
}

/** By the kernel itself, where this one mounts XFS for this user. */
async function mountByKernel(vm: LabVm, volume: Volume): Promise<void> {
  const { targetFile } = lab.targets.disksOf(vm)[0]!;
  if (!(await mountReally({ ...volume, path: targetFile }, xfs))) await mountTarget(vm, volume);
}

const asked = { extra: ["--on-target-mismatch", "full"] };

type Mount = (vm: LabVm, volume: Volume) => Promise<void>;

const mounts: [name: string, system: FileSystem, place: Place, mount: Mount][] = [
  ["ext4-partition", ext4, partitioned("dos"), mountTarget],
  ["ext4-lvm", ext4, onLvm, mountTarget],
  ["ntfs-partition", ntfs, partitioned("gpt"), mountTarget],
  ["btrfs-partition", btrfs, partitioned("gpt"), mountTarget],
  ["xfs-mounted", xfs, partitioned("dos"), mountByKernel],
];

for (const [name, system, place, mount] of mounts) {
  test(`a target whose ${system.name} ${place.name} was mounted is no base for an incremental`, async () => {
    const { vm, volume } = await machineWith(name, system, place);
    await migrateWell(lab, vm);
    await mount(vm, volume);
    await vm.write(2000, volume.offsetBytes + 3 * mebibyte, Buffer.alloc(4096, "changed"));
    const summary = await migrateWell(lab, vm, asked);
    assert.equal(summary.disks[0]!.sync_type, "full");
    assert.match(summary.disks[0]!.reason, /not what the last run left/);
  });
}

test("a change ID from elsewhere is not used onto a target that was mounted", async () => {
  const { vm, volume } = await machineWith("elsewhere", ext4, partitioned("dos"));
  const env = { MIGRATEKIT_JOB_ID: "elsewhere" };
  await migrateWell(lab, vm, {}, env);
  await vm.write(2000, volume.offsetBytes + 3 * mebibyte, Buffer.alloc(4096, "changed"));
  const fresh = (number: number) => ["--state-dir", join(lab.dir, `fresh-${number}`)];
  const equal = await migrateWell(lab, vm, { extra: fresh(1) }, env);
  assert.equal(equal.disks[0]!.sync_type, "incremental");
  await mountTarget(vm, volume);
  const summary = await migrateWell(lab, vm, { extra: [...fresh(2), ...asked.extra] }, env);
  assert.equal(summary.disks[0]!.sync_type, "full");
  assert.match(summary.disks[0]!.reason, /differs at offset \d+ from what did not change/);
});
