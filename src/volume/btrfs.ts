/** Btrfs: every commit writes all copies of the superblock; the first is in the first MiB. */
import type { Fields } from "./fields.ts";
import type { Space } from "./space.ts";
import type { Wishes } from "./wishes.ts";

const superblockAt = 64 * 1024;
const superblockBytes = 4096;
const copiesAt = [64 * 2 ** 20, 256 * 2 ** 30];

/** Asks for the other superblocks, where there is such a file system. Reads nothing. */
export async function lookForBtrfs(space: Space, head: Fields, wishes: Wishes): Promise<void> {
  if (head.text(superblockAt + 64, 8) !== "_BHRfS_M") return;
  for (const copy of copiesAt) wishes.structure(space, copy, superblockBytes);
}
