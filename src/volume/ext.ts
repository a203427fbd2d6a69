/** ext2, ext3 and ext4: the superblock is in the first MiB; here the journal is found. */
import { type Fields, NotUnderstood, powerOfTwo } from "./fields.ts";
import type { Space } from "./space.ts";
import type { Wishes } from "./wishes.ts";

const superblockAt = 1024;
const hasJournal = 0x4;
const bits64 = 0x80;
const extentsFlag = 0x80000;
/** A journal is written from its beginning after every mount: its superblock and what follows. */
const journalBytes = 64 * 1024;
const directBlocks = 12;
const depthMax = 5;

/** An external journal is another disk's or partition's: there it is in the first MiB as well. */
export async function lookForExt(space: Space, head: Fields, wishes: Wishes): Promise<void> {
  const superblock = head.part(superblockAt, 1024);
  if (superblock.u16(0x38) !== 0xef53) return;
  const inode = superblock.u32(0xe0);
  if ((superblock.u32(0x5c) & hasJournal) === 0 || inode === 0) return;
  const blockBytes = powerOfTwo(1024 * 2 ** superblock.u32(0x18), 1024, 65_536);
  const journal = await readInode(space, superblock, blockBytes, inode);
  for (const { block, count } of await firstBlocks(space, journal, blockBytes)) {
    wishes.structure(space, block * blockBytes, count * blockBytes);
  }
}

async function readInode(
  space: Space,
  superblock: Fields,
  blockBytes: number,
  inode: number,
): Promise<Fields> {
  // The journal's inode (8) is one of the reserved ones, which are in the first group.
  if (inode > superblock.u32(0x28)) throw new NotUnderstood("an inode of another group");
  const wide = (superblock.u32(0x60) & bits64) !== 0 && superblock.u16(0xfe) >= 64;
  const superblockIn = Math.floor(superblockAt / blockBytes);
  const group = await space.read((superblockIn + 1) * blockBytes, 64);
  const table = group.u32(0x08) + (wide ? group.u32(0x28) * 2 ** 32 : 0);
  const inodeBytes = superblock.u32(0x4c) === 0 ? 128 : superblock.u16(0x58);
  powerOfTwo(inodeBytes, 128, 65_536);
  return await space.read(table * blockBytes + (inode - 1) * inodeBytes, 128);
}

interface BlockRun {
  readonly block: number;
  readonly count: number;
}

async function firstBlocks(space: Space, inode: Fields, blockBytes: number): Promise<BlockRun[]> {
  const map = inode.part(0x28, 60);
  const wanted = Math.max(1, journalBytes / blockBytes);
  if ((inode.u32(0x20) & extentsFlag) === 0) {
    const blocks = Array.from({ length: directBlocks }, (_, at) => map.u32(at * 4));
    const used = blocks.slice(0, wanted).filter((block) => block !== 0);
    return used.map((block) => ({ block, count: 1 }));
  }
  return await firstExtents(space, map, blockBytes, wanted);
}

async function firstExtents(
  space: Space,
  root: Fields,
  blockBytes: number,
  wanted: number,
): Promise<BlockRun[]> {
  let node = root;
  for (let level = 0; level <= depthMax; level++) {
    if (node.u16(0) !== 0xf30a) throw new NotUnderstood("no extent header");
    const entries = Math.min(node.u16(2), 16);
    if (node.u16(6) === 0) return leafRuns(node, entries, wanted);
    const child = node.u32(12 + 4) + node.u16(12 + 8) * 2 ** 32;
    node = await space.read(child * blockBytes, Math.min(blockBytes, 4096));
  }
  throw new NotUnderstood("an extent tree of no end");
}

function leafRuns(node: Fields, entries: number, wanted: number): BlockRun[] {
  const runs: BlockRun[] = [];
  let left = wanted;
  for (let entry = 0; entry < entries && left > 0; entry++) {
    const at = 12 + entry * 12;
    const count = Math.min(node.u16(at + 4), left);
    runs.push({ block: node.u32(at + 8) + node.u16(at + 6) * 2 ** 32, count });
    left -= count;
  }
  return runs;
}
