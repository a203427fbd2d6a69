/** The copies made at snapshots: what a target must equal. They outlive their snapshots. */

import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { imagePathOf } from "./lab-disk.ts";
import { changeIdOf, type SnapshotRecord, type VmRecord } from "./records.ts";

export interface FrozenCopy {
  snapshot: string;
  vm: string;
  name: string;
  description: string;
  /** ISO 8601. */
  createTime: string;
  disks: FrozenDisk[];
}

export interface FrozenDisk {
  key: number;
  capacityBytes: number;
  imagePath: string;
  changeId?: string;
}

const aboutName = "about.json";

export function writeFrozenCopy(labDir: string, vm: VmRecord, snapshot: SnapshotRecord): void {
  const { moref, name, description, createTime } = snapshot;
  const directory = path.join(labDir, "frozen", moref);
  const disks = snapshot.disks.filter((disk) => disk.frozen);
  const copy: FrozenCopy = {
    ...{ snapshot: moref, vm: vm.moref, name, description, createTime },
    disks: disks.map((disk) => ({
      key: disk.key,
      capacityBytes: disk.capacityBytes,
      imagePath: imagePathOf(directory, disk.key),
      ...(disk.trackingUuid !== undefined && { changeId: changeIdOf(disk)! }),
    })),
  };
  writeFileSync(path.join(directory, aboutName), JSON.stringify(copy));
}

/** Oldest first; of one machine (moref) or of all. A copy that was never finished is not listed. */
export function frozenCopies(labDir: string, vmMoref?: string): FrozenCopy[] {
  const root = path.join(labDir, "frozen");
  return readdirSync(root)
    .map((snapshot) => path.join(root, snapshot, aboutName))
    .filter((file) => existsSync(file))
    .map((file) => JSON.parse(readFileSync(file, "utf8")) as FrozenCopy)
    .filter((copy) => vmMoref === undefined || copy.vm === vmMoref)
    .sort((a, b) => a.createTime.localeCompare(b.createTime));
}

/** Removes the oldest copies beyond `keptMax`, but none of a snapshot that still exists. */
export function pruneFrozenCopies(
  labDir: string,
  existing: ReadonlySet<string>,
  keptMax: number,
): void {
  const copies = frozenCopies(labDir);
  for (const { snapshot } of copies.slice(0, Math.max(0, copies.length - keptMax))) {
    if (existing.has(snapshot)) continue;
    rmSync(path.join(labDir, "frozen", snapshot), { recursive: true, force: true });
  }
}
