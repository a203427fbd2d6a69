/** NTFS: the boot sector is in the first MiB; here the first MFT records and the log are found. */
import { Fields, NotUnderstood, powerOfTwo } from "./fields.ts";
import type { Space } from "./space.ts";
import type { Wishes } from "./wishes.ts";

/** Records of $MFT, $MFTMirr, $LogFile, $Volume (with the dirty flag) and eight more at least. */
const mftBytes = 64 * 1024;
const mirrorBytes = 16 * 1024;
/** $LogFile begins with two restart pages and the pages that are written most. */
const logBytes = 64 * 1024;
const logRecord = 2;
const dataType = 0x80;
const endType = 0xffffffff;
const strideBytes = 512;

/**
 * Asks for what a mount writes of an NTFS, where `head` is the beginning of one.
 * @throws NotUnderstood; the reader's errors
 */
export async function lookForNtfs(space: Space, head: Fields, wishes: Wishes): Promise<void> {
  if (head.text(3, 8) !== "NTFS    ") return;
  const sectorBytes = powerOfTwo(head.u16(0x0b), 256, 4096);
  const clusterBytes = powerOfTwo(sectorBytes * scaled(head.u8(0x0d)), 256, 2 ** 21);
  const mft = head.u64(0x30) * clusterBytes;
  wishes.structure(space, mft, mftBytes);
  wishes.structure(space, head.u64(0x38) * clusterBytes, mirrorBytes);
  const size = head.u8(0x40);
  const recordBytes = powerOfTwo(size < 0x80 ? size * clusterBytes : scaled(size), 512, 65_536);
  const record = await space.read(mft + logRecord * recordBytes, recordBytes);
  for (const run of dataRuns(record, Math.ceil(logBytes / clusterBytes))) {
    wishes.structure(space, run.cluster * clusterBytes, run.count * clusterBytes);
  }
}

/** A byte above 0x80 is the negative exponent of two. */
function scaled(value: number): number {
  return value > 0x80 ? 2 ** (256 - value) : value;
}

interface ClusterRun {
  readonly cluster: number;
  readonly count: number;
}

function dataRuns(stored: Fields, clustersWanted: number): ClusterRun[] {
  if (stored.text(0, 4) !== "FILE") throw new NotUnderstood("no MFT record");
  const record = mended(stored);
  for (let at = record.u16(0x14); record.u32(at) !== endType; at += record.u32(at + 4)) {
    if (record.u32(at + 4) < 16) throw new NotUnderstood("an attribute of no length");
    const plainData = record.u32(at) === dataType && record.u8(at + 9) === 0;
    if (!plainData || record.u8(at + 8) === 0) continue;
    return mappingPairs(record, at + record.u16(at + 0x20), clustersWanted);
  }
  return [];
}

/** The last two bytes of each stride stand elsewhere in the record, for writes torn apart to show. */
function mended(stored: Fields): Fields {
  const bytes = stored.bytes.slice();
  const replaced = stored.u16(4);
  for (let end = strideBytes, at = replaced + 2; end <= bytes.length; end += strideBytes, at += 2) {
    bytes.set(stored.part(at, 2).bytes, end - 2);
  }
  return new Fields(bytes);
}

/** Runs are stored as sizes of two numbers, then a length and a distance from the run before. */
function mappingPairs(record: Fields, start: number, clustersWanted: number): ClusterRun[] {
  const runs: ClusterRun[] = [];
  let cluster = 0;
  let left = clustersWanted;
  for (let at = start; left > 0 && record.u8(at) !== 0; ) {
    const lengthBytes = record.u8(at) & 0xf;
    const distanceBytes = record.u8(at) >> 4;
    if (lengthBytes === 0 || distanceBytes === 0) break;
    const length = signed(record, at + 1, lengthBytes);
    cluster += signed(record, at + 1 + lengthBytes, distanceBytes);
    if (length <= 0 || cluster < 0) throw new NotUnderstood("a run of no length or place");
    runs.push({ cluster, count: Math.min(length, left) });
    left -= length;
    at += 1 + lengthBytes + distanceBytes;
  }
  return runs;
}

function signed(record: Fields, offset: number, length: number): number {
  if (length > 6) throw new NotUnderstood("a number of more than six bytes");
  return Buffer.from(record.part(offset, length).bytes).readIntLE(0, length);
}
