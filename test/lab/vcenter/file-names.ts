/** How the VMDK files of a machine are called while snapshots come and go. */

import type { DiskRecord, SnapshotRecord, VmRecord } from "./records.ts";

/** `[ds] dir/name.vmdk` -> `[ds] dir/name-000001.vmdk`, for the file written to after a snapshot. */
export function deltaFileName(fileName: string, number: number): string {
  const base = baseFileName(fileName).slice(0, -".vmdk".length);
  return `${base}-${String(number).padStart(6, "0")}.vmdk`;
}

function baseFileName(fileName: string): string {
  return fileName.replace(/(-\d{6})?\.vmdk$/, ".vmdk");
}

/** All files of a disk, or of all disks, on another datastore: those of snapshots too. */
export function moveFiles(vm: VmRecord, datastore: string, key?: number): void {
  for (const disk of [...vm.disks, ...vm.snapshots.flatMap(({ disks }) => disks)]) {
    if (key !== undefined && disk.key !== key) continue;
    disk.fileName = disk.fileName.replace(`[${disk.datastore}]`, `[${datastore}]`);
    disk.datastore = datastore;
  }
}

/** Files that no snapshot needs are merged into the disk: its lowest file is the disk's own again. */
export function mergeFiles(vm: VmRecord): void {
  const root = vm.snapshots.find(({ parent }) => parent === undefined);
  for (const disk of root?.disks ?? vm.disks) disk.fileName = baseFileName(disk.fileName);
}

/** As hosts print it in a FileFault. */
export function hostPath(fileName: string): string {
  const match = /^\[(.*)\] (.*)$/.exec(fileName);
  return match ? `/vmfs/volumes/${match[1]}/${match[2]}` : fileName;
}

/**
 * Removing a snapshot merges the only file above its own into it, so whoever used that file uses the
 * snapshot's from now on. With several files above (a branch after a revert) nothing can be merged,
 * and on a host that fails to merge nothing is either.
 */
export function leaveTree(vm: VmRecord, removed: SnapshotRecord, merge: boolean): void {
  const children = vm.snapshots.filter((snapshot) => snapshot.parent === removed.moref);
  const isCurrent = vm.currentSnapshot === removed.moref;
  const heirs: readonly DiskRecord[][] = [
    ...children.map((child) => child.disks),
    ...(isCurrent ? [vm.disks] : []),
  ];
  if (merge && heirs.length === 1) {
    for (const disk of removed.disks) {
      const heir = heirs[0]!.find((candidate) => candidate.key === disk.key);
      if (disk.frozen && heir) heir.fileName = disk.fileName;
    }
  }
  for (const child of children) {
    if (removed.parent === undefined) delete child.parent;
    else child.parent = removed.parent;
  }
  if (isCurrent) {
    if (removed.parent === undefined) delete vm.currentSnapshot;
    else vm.currentSnapshot = removed.parent;
  }
}
