/**
 * What one mount or one boot of a volume would write to: read from the volume itself, whose bytes
 * are anybody's. What is not understood counts as a partition with its first MiB; nothing here
 * throws for what it reads.
 */
import { lookForBtrfs } from "./btrfs.ts";
import { lookForExt } from "./ext.ts";
import { type Fields, understood } from "./fields.ts";
import { lookForLuks } from "./luks.ts";
import { logicalVolumes } from "./lvm.ts";
import { lookForNtfs } from "./ntfs.ts";
import { partitionsOf } from "./partitions.ts";
import { DiskBlocks, type ReadDisk, Space } from "./space.ts";
import { Wishes } from "./wishes.ts";
import { lookForXfs } from "./xfs.ts";

export { type EncryptedPart, listEncryptedParts } from "./encrypted.ts";
export type { ReadDisk } from "./space.ts";

/** Asks for what a mount writes, if `head` is the beginning of a file system that it knows. */
type LookForFileSystem = (space: Space, head: Fields, wishes: Wishes) => Promise<void>;

/** As far as superblocks go: that of Btrfs ends at 68 KiB. */
const superblocksBytes = 128 * 1024;

const fileSystems: readonly LookForFileSystem[] = [
  lookForExt,
  lookForXfs,
  lookForNtfs,
  lookForBtrfs,
  lookForLuks,
];

/**
 * Pairs [offset, length], sorted and disjoint, in whole sectors: the first MiB of the disk, of each
 * partition and of each linear logical volume, and what a mount of the file system there writes
 * (superblocks, the journal's or the log's place of writing, the first MFT records). At most 256
 * ranges and 32 MiB, reading at most 32 MiB.
 * @throws what `read` throws, and nothing else
 */
export async function listMountRanges(
  read: ReadDisk,
  capacityBytes: number,
): Promise<Float64Array> {
  const wishes = new Wishes();
  const disk = Space.ofDisk(new DiskBlocks(read, capacityBytes));
  await lookInto(disk, wishes);
  const partitions = await understood(() => partitionsOf(disk, wishes), []);
  for (const partition of partitions) await lookInto(partition, wishes);
  return wishes.ranges(capacityBytes);
}

async function lookInto(space: Space, wishes: Wishes): Promise<void> {
  await lookForFileSystem(space, wishes);
  const volumes = await understood(() => logicalVolumes(space, wishes), []);
  for (const volume of volumes) await lookForFileSystem(volume, wishes);
}

async function lookForFileSystem(space: Space, wishes: Wishes): Promise<void> {
  wishes.head(space);
  const head = await understood(() => space.readHead(superblocksBytes), undefined);
  if (head === undefined) return;
  for (const look of fileSystems) await understood(() => look(space, head, wishes), undefined);
}
