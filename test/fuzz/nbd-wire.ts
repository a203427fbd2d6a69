// The NBD protocol's numbers and messages (github.com/NetworkBlockDevice/nbd, doc/proto.md), as a
// server writes them.

export const option = {
  exportName: 1,
  abort: 2,
  list: 3,
  startTls: 5,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
} as const;

export const answer = {
  ack: 1,
  server: 2,
  info: 3,
  metaContext: 4,
  unsupported: 0x80000001,
  policy: 0x80000002,
  tlsRequired: 0x80000005,
  unknownExport: 0x80000006,
} as const;

export const command = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  cache: 5,
  writeZeroes: 6,
  blockStatus: 7,
} as const;

export const chunk = {
  none: 0,
  data: 1,
  hole: 2,
  blockStatus: 5,
  error: 0x8001,
  errorOffset: 0x8002,
} as const;

/** HAS_FLAGS, FLUSH, FUA, TRIM, WRITE_ZEROES, DF, MULTI_CONN. */
export const allFlags = 1 | 4 | 8 | 32 | 64 | 128 | 256;
export const readOnlyFlag = 2;

export const requestBytes = 28;
export const simpleMagic = 0x67446698;
export const structuredMagic = 0x668e33ef;

export function greeting(flags = 3): Buffer {
  return Buffer.concat([Buffer.from("NBDMAGICIHAVEOPT"), u16(flags)]);
}

export function optionReply(
  forOption: number,
  type: number,
  data: Buffer = Buffer.alloc(0),
): Buffer {
  const magic = Buffer.from("0003e889045565a9", "hex");
  return Buffer.concat([magic, u32(forOption), u32(type), u32(data.length), data]);
}

export function exportInfo(sizeBytes: bigint, flags: number): Buffer {
  return Buffer.concat([u16(0), u64(sizeBytes), u16(flags)]);
}

export function blockSizeInfo(minimum: number, preferred: number, maximum: number): Buffer {
  return Buffer.concat([u16(3), u32(minimum), u32(preferred), u32(maximum)]);
}

export function simpleReply(cookie: bigint, error: number, data: Buffer = Buffer.alloc(0)): Buffer {
  return Buffer.concat([u32(simpleMagic), u32(error), u64(cookie), data]);
}

export function structuredReply(
  cookie: bigint,
  type: number,
  payload: Buffer,
  done = true,
): Buffer {
  const head = [u32(structuredMagic), u16(done ? 1 : 0), u16(type), u64(cookie)];
  return Buffer.concat([...head, u32(payload.length), payload]);
}

export function dataChunk(offset: bigint, data: Buffer): Buffer {
  return Buffer.concat([u64(offset), data]);
}

export function errorChunk(error: number, message: string): Buffer {
  const text = Buffer.from(message);
  return Buffer.concat([u32(error), u16(text.length), text]);
}

/** Pairs of length and flags (1: hole, 2: reads as zero). */
export function statusChunk(
  contextId: number,
  pairs: readonly (readonly [number, number])[],
): Buffer {
  const list = pairs.flatMap(([length, flags]) => [u32(length), u32(flags)]);
  return Buffer.concat([u32(contextId), ...list]);
}

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

export function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt.asUintN(64, value));
  return bytes;
}
