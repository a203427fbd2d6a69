/** How the VMDK files of a machine are called while snapshots come and go. */

import type { DiskRecord, SnapshotRecord, VmRecord } from "./records.ts";

/** `[ds] dir/name.vmdk` -> `[ds] dir/name-000001.vmdk`, for the file written to after a snapshot. */
export function deltaFileName(baseFileName: string, number: number): string {
  const base = baseFileName.replace(/(-\d{6})?\.vmdk$/, "");
  return `${base}-${String(number).padStart(6, "0")}.vmdk`;
}

/** As hosts print it in a FileFault. */
export function hostPath(fileName: string): string {
  const match = /^\[(.*)\] (.*)$/.exec(fileName);
  return match ? `/vmfs/volumes/${match[1]}/${match[2]}` : fileName;
}

/**
 * Removing a snapshot merges the only file above its own into it, so whoever used that file uses the
 * snapshot's from now on. With several files above (a branch after a revert) nothing can be merged.
 */
export function consolidateFileNames(vm: VmRecord, removed: SnapshotRecord): void {
  const children = vm.snapshots.filter((snapshot) => snapshot.parent === removed.moref);
  const isCurrent = vm.currentSnapshot === removed.moref;
  const heirs: readonly DiskRecord[][] = [
    ...children.map((child) => child.disks),
    ...(isCurrent ? [vm.disks] : []),
  ];
  if (heirs.length === 1) {
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
