/** Partition tables: GPT, its backup where the first is damaged, and MBR with logical partitions. */
import { type Fields, NotUnderstood, understood } from "./fields.ts";
import type { Space } from "./space.ts";
import type { Wishes } from "./wishes.ts";

/** GPT reserves room for so many, and no more are looked at. */
const partitionsMax = 128;
const sectorSizes = [512, 4096];
const sectorBytes = 512;

/**
 * The partitions of a disk as spaces of their own, at most `partitionsMax`; none where there is no
 * table.
 * @throws the reader's errors
 */
export async function partitionsOf(disk: Space, wishes: Wishes): Promise<Space[]> {
  const found = await gptOf(disk, wishes);
  return found.length > 0 ? found : (await mbrOf(disk)).slice(0, partitionsMax);
}

async function gptOf(disk: Space, wishes: Wishes): Promise<Space[]> {
  for (const sector of sectorSizes) {
    const backup = disk.sizeBytes - (disk.sizeBytes % sector) - sector;
    for (const at of [sector, backup]) {
      const found = await understood(() => gptAt(disk, at, sector, wishes), []);
      if (found.length > 0) return found;
    }
  }
  return [];
}

async function gptAt(disk: Space, at: number, sector: number, wishes: Wishes): Promise<Space[]> {
  const header = await disk.read(at, sectorBytes);
  if (header.text(0, 8) !== "EFI PART") return [];
  // The header at the disk's other end, which is written together with this one.
  wishes.structure(disk, header.u64(32) * sector, sector);
  return await gptEntries(disk, header, sector);
}

async function gptEntries(disk: Space, header: Fields, sector: number): Promise<Space[]> {
  const count = Math.min(header.u32(80), partitionsMax);
  const entryBytes = header.u32(84);
  if (entryBytes < 128 || entryBytes > 4096) throw new NotUnderstood("GPT entries of no size");
  const table = await disk.read(header.u64(72) * sector, count * entryBytes);
  const partitions: Space[] = [];
  for (let at = 0; at < count * entryBytes; at += entryBytes) {
    const used = table.part(at, 16).bytes.some((byte) => byte !== 0);
    if (!used) continue;
    const first = table.u64(at + 32);
    const last = table.u64(at + 40);
    partitions.push(disk.part(first * sector, (last - first + 1) * sector));
  }
  return partitions.filter(({ sizeBytes }) => sizeBytes > 0);
}

interface MbrEntry {
  readonly type: number;
  readonly start: number;
  readonly length: number;
}

const extendedTypes = [0x05, 0x0f, 0x85];

async function mbrOf(disk: Space): Promise<Space[]> {
  const partitions: Space[] = [];
  for (const { type, start, length } of await mbrEntries(disk, 0)) {
    if (extendedTypes.includes(type)) partitions.push(...(await logicalPartitions(disk, start)));
    else partitions.push(disk.part(start, length));
  }
  return partitions.filter(({ sizeBytes }) => sizeBytes > 0);
}

/** A chain of tables, each with one partition and the place of the next table. */
async function logicalPartitions(disk: Space, extendedStart: number): Promise<Space[]> {
  const partitions: Space[] = [];
  for (let at = extendedStart; partitions.length < partitionsMax; ) {
    const entries = await understood(() => mbrEntries(disk, at), []);
    const partition = entries.find(({ type }) => !extendedTypes.includes(type));
    if (partition) partitions.push(disk.part(at + partition.start, partition.length));
    const next = entries.find(({ type }) => extendedTypes.includes(type));
    // Forwards only: so that a circle ends.
    if (!next || extendedStart + next.start <= at) break;
    at = extendedStart + next.start;
  }
  return partitions;
}

async function mbrEntries(disk: Space, at: number): Promise<MbrEntry[]> {
  const sector = await disk.read(at, sectorBytes);
  if (sector.u16(510) !== 0xaa55) return [];
  return [446, 462, 478, 494]
    .map((entry) => ({
      type: sector.u8(entry + 4),
      start: sector.u32(entry + 8) * sectorBytes,
      length: sector.u32(entry + 12) * sectorBytes,
    }))
    .filter(({ type, start, length }) => type !== 0 && start > 0 && length > 0);
}
