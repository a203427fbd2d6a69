/** XFS: the superblock is in the first MiB; here the place is found where the log is written next. */
import { type Fields, NotUnderstood, powerOfTwo } from "./fields.ts";
import type { Space } from "./space.ts";
import type { Wishes } from "./wishes.ts";

const sectorBytes = 512;
const recordMagic = 0xfeedbabe;
/** Around the head: a mount stamps what lies ahead of it, 2 MiB with the usual log buffers. */
const beforeHeadBytes = 64 * 1024;
const afterHeadBytes = 128 * 1024;

/** With an external log only the superblock, which an unmount writes, is on this disk. */
export async function lookForXfs(space: Space, head: Fields, wishes: Wishes): Promise<void> {
  if (head.text(0, 4) !== "XFSB") return;
  const blockBytes = powerOfTwo(head.u32be(4), 512, 65_536);
  const start = head.u64be(48);
  if (start === 0) return;
  // A block's number has the allocation group in its upper bits.
  const inGroupBits = head.u8(124);
  if (inGroupBits > 31) throw new NotUnderstood("an allocation group of no size");
  const group = Math.floor(start / 2 ** inGroupBits);
  const block = group * head.u32be(84) + (start % 2 ** inGroupBits);
  const log = space.part(block * blockBytes, head.u32be(96) * blockBytes);
  const sectors = Math.floor(log.sizeBytes / sectorBytes);
  if (sectors === 0) return;
  const at = (await findHead(log, sectors)) * sectorBytes;
  const from = Math.max(0, at - beforeHeadBytes);
  const to = at + afterHeadBytes;
  wishes.structure(log, from, to - from);
  // The log is a ring.
  if (to > log.sizeBytes) wishes.structure(log, 0, to - log.sizeBytes);
}

/**
 * Every sector of the log begins with the number of the round in which it was written, so the head
 * is where the number of the first sector ends; where it does not, the head is at the beginning.
 */
async function findHead(log: Space, sectors: number): Promise<number> {
  const round = await roundOf(log, 0);
  let written = 0;
  let older = sectors;
  while (older - written > 1) {
    const middle = Math.floor((written + older) / 2);
    if ((await roundOf(log, middle)) === round) written = middle;
    else older = middle;
  }
  return older === sectors ? 0 : older;
}

async function roundOf(log: Space, sector: number): Promise<number> {
  const start = await log.read(sector * sectorBytes, 8);
  return start.u32be(start.u32be(0) === recordMagic ? 4 : 0);
}
