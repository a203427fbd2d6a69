/**
 * Thrown where bytes are not what a parser takes them for. Never leaves this folder: whoever looks
 * at a volume does without the part that could not be read.
 */
export class NotUnderstood extends Error {
  override readonly name = "NotUnderstood";
}

/** What `look` finds, or `otherwise` where it does not understand what it sees. */
export async function understood<T>(look: () => Promise<T>, otherwise: T): Promise<T> {
  try {
    return await look();
  } catch (error) {
    if (error instanceof NotUnderstood) return otherwise;
    throw error;
  }
}

/** Numbers and texts out of untrusted bytes. Methods throw `NotUnderstood` and nothing else. */
export class Fields {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u8(offset: number): number {
    return this.#view.getUint8(this.#inside(offset, 1));
  }

  u16(offset: number): number {
    return this.#view.getUint16(this.#inside(offset, 2), true);
  }

  u32(offset: number): number {
    return this.#view.getUint32(this.#inside(offset, 4), true);
  }

  /** No disk is larger than the safe integers: what is, is not understood. */
  u64(offset: number): number {
    return safe(this.#view.getBigUint64(this.#inside(offset, 8), true));
  }

  u16be(offset: number): number {
    return this.#view.getUint16(this.#inside(offset, 2));
  }

  u32be(offset: number): number {
    return this.#view.getUint32(this.#inside(offset, 4));
  }

  u64be(offset: number): number {
    return safe(this.#view.getBigUint64(this.#inside(offset, 8)));
  }

  text(offset: number, length: number): string {
    return Buffer.from(this.part(offset, length).bytes).toString("latin1");
  }

  part(offset: number, length: number): Fields {
    return new Fields(this.bytes.subarray(this.#inside(offset, length), offset + length));
  }

  #inside(offset: number, length: number): number {
    const fits =
      Number.isSafeInteger(offset) &&
      Number.isSafeInteger(length) &&
      offset >= 0 &&
      length >= 0 &&
      offset + length <= this.bytes.length;
    if (!fits) throw new NotUnderstood(`no ${length} bytes at ${offset}`);
    return offset;
  }
}

function safe(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new NotUnderstood(`${value} is too large`);
  return Number(value);
}

/** A power of two between two limits, as block, sector and cluster sizes are. */
export function powerOfTwo(value: number, least: number, most: number): number {
  const fits = value >= least && value <= most && Number.isInteger(Math.log2(value));
  if (!fits) throw new NotUnderstood(`${value} is not a size between ${least} and ${most}`);
  return value;
}
