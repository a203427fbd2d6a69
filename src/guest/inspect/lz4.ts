/** LZ4 in its legacy frame, which mkinitramfs and the kernel use, and in the frame of today's lz4(1). */

const legacyMagic = 0x184c2102;
const frameMagic = 0x184d2204;

/** @throws Error for what is neither */
export function unlz4(bytes: Buffer, bytesMax: number): Buffer {
  const magic = bytes.readUInt32LE(0);
  const blocks = magic === legacyMagic ? legacyBlocks(bytes) : frameBlocks(bytes);
  const pieces: Buffer[] = [];
  let length = 0;
  // Blocks may refer back into those before; none refers further back than this.
  let window = Buffer.alloc(0);
  for (const { data, packed } of blocks) {
    const piece = packed ? unpackBlock(data, window, bytesMax - length) : data;
    pieces.push(piece);
    length += piece.length;
    if (length > bytesMax) throw new Error("it is larger than a RAM disk can be");
    window = Buffer.concat([window, piece]).subarray(-65_536);
  }
  return Buffer.concat(pieces);
}

interface Block {
  readonly data: Buffer;
  readonly packed: boolean;
}

function* legacyBlocks(bytes: Buffer): Generator<Block> {
  let at = 4;
  while (at + 4 <= bytes.length) {
    const size = bytes.readUInt32LE(at);
    at += 4;
    if (size === legacyMagic) continue; // several were put one behind the other
    if (size === 0 || at + size > bytes.length) return;
    yield { data: bytes.subarray(at, at + size), packed: true };
    at += size;
  }
}

function* frameBlocks(bytes: Buffer): Generator<Block> {
  if (bytes.readUInt32LE(0) !== frameMagic) throw new Error("it is no lz4");
  const flags = bytes.readUInt8(4);
  const checksums = (flags & 0x10) !== 0;
  let at = 7 + ((flags & 0x08) !== 0 ? 8 : 0) + ((flags & 0x01) !== 0 ? 4 : 0);
  while (at + 4 <= bytes.length) {
    const word = bytes.readUInt32LE(at);
    if (word === 0) return;
    const size = word & 0x7fff_ffff;
    at += 4;
    yield { data: bytes.subarray(at, at + size), packed: word <= 0x7fff_ffff };
    at += size + (checksums ? 4 : 0);
  }
}

/** lz4_Block_format.md: literals, then a match, each length with bytes of 255 behind it. */
function unpackBlock(data: Buffer, window: Buffer, bytesMax: number): Buffer {
  let out = Buffer.alloc(Math.max(window.length + data.length * 4, 65_536));
  window.copy(out);
  let [at, end] = [0, window.length];
  const room = (bytes: number) => {
    if (end - window.length + bytes > bytesMax)
      throw new Error("it is larger than a RAM disk can be");
    if (end + bytes > out.length) out = Buffer.concat([out, Buffer.alloc(out.length + bytes)]);
  };
  const longer = (length: number) => {
    if (length < 15) return length;
    let [total, byte] = [length, 255];
    while (byte === 255) {
      byte = data.readUInt8(at++);
      total += byte;
    }
    return total;
  };
  while (at < data.length) {
    const token = data.readUInt8(at++);
    const literals = longer(token >> 4);
    room(literals);
    data.copy(out, end, at, at + literals);
    at += literals;
    end += literals;
    if (at >= data.length) break;
    const back = data.readUInt16LE(at);
    at += 2;
    const match = longer(token & 15) + 4;
    if (back === 0 || back > end) throw new Error("its lz4 is damaged");
    room(match);
    // What is copied may be what has just been written: byte by byte.
    for (let left = match; left > 0; left--, end++) out[end] = out[end - back] ?? 0;
  }
  return Buffer.from(out.subarray(window.length, end));
}
