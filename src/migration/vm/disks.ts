/** Which disks of a VM take part, and what each is called. */
import { MigratekitError } from "../../errors.ts";
import type { VirtualDisk } from "../../vmware/virtual-disk.ts";
import type { VmDetails } from "../../vmware/vm-details.ts";

/** `disk-2000`: how the VMA and OMA APIs name a disk. */
export function diskIdOf(disk: { readonly key: number }): string {
  return `disk-${disk.key}`;
}

/** The device key in `disk-2000`. */
export function keyOf(diskId: string): number {
  return Number(diskId.slice("disk-".length));
}

/**
 * The disks that take part.
 * @throws MigratekitError `vm-unsuitable` naming the disk that a snapshot would not hold
 */
export function selectDisks(vm: VmDetails, skip: readonly number[] | undefined): VirtualDisk[] {
  const unknown = (skip ?? []).find((key) => !vm.disks.some((disk) => disk.key === key));
  if (unknown !== undefined) {
    throw new MigratekitError(
      "usage",
      `--skip-disks names ${unknown}, which the VM does not have`,
      {
        remedy: `Its disks are ${vm.disks.map((disk) => disk.key).join(", ")}.`,
      },
    );
  }
  const disks = vm.disks.filter((disk) => !skip?.includes(disk.key));
  if (disks.length === 0) {
    throw new MigratekitError("vm-unsuitable", `${vm.name} has no disk to migrate`);
  }
  for (const disk of disks) {
    const obstacle = obstacleToSnapshot(disk);
    if (obstacle === undefined) continue;
    throw new MigratekitError(
      "vm-unsuitable",
      `${diskIdOf(disk)} (${disk.label}) ${obstacle}: a snapshot does not hold it`,
      { remedy: `Change the disk, or leave it out with --skip-disks ${disk.key}.` },
    );
  }
  return disks;
}

/** Why a snapshot would not contain this disk, or cannot be taken because of it. */
export function obstacleToSnapshot(disk: VirtualDisk): string | undefined {
  if (disk.diskMode.startsWith("independent")) return `is in ${disk.diskMode} mode`;
  if (disk.backing === "rdmPhysical") return "is a raw device mapping in physical mode";
  if (disk.sharing !== undefined) return `is shared between VMs (${disk.sharing})`;
  return undefined;
}
