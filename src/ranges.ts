/**
 * Extents: lists of byte ranges as one `Float64Array` of pairs [offset, length, offset, length, …].
 *
 * A list is *normal* when it is sorted by offset, its ranges are not empty, and none overlaps or
 * touches the next. `normalize` makes a list normal; all other functions take normal lists and
 * return normal ones, in time linear in their lengths, without changing their arguments. Offsets
 * and lengths are safe integers (bytes).
 */

/** @throws RangeError for an odd number of entries or a number that is no byte count. */
export function normalize(pairs: Float64Array): Float64Array {
  assertPairs(pairs);
  const writer = new ExtentWriter(pairs.length);
  if (isSorted(pairs)) {
    for (let at = 0; at < pairs.length; at += 2) writer.add(pairs[at]!, pairs[at + 1]!);
    return writer.finish();
  }
  const order = Uint32Array.from({ length: pairs.length / 2 }, (_, index) => index);
  order.sort((a, b) => pairs[2 * a]! - pairs[2 * b]!);
  for (const index of order) writer.add(pairs[2 * index]!, pairs[2 * index + 1]!);
  return writer.finish();
}

/** One normal list of what is in any of `lists`, which need not be normal. Throws as `normalize` does. */
export function merge(lists: readonly Float64Array[]): Float64Array {
  const all = new Float64Array(lists.reduce((sum, list) => sum + list.length, 0));
  let used = 0;
  for (const list of lists) {
    all.set(list, used);
    used += list.length;
  }
  return normalize(all);
}

/** Bytes in `a`, in `b`, or in both. */
export function union(a: Float64Array, b: Float64Array): Float64Array {
  const writer = new ExtentWriter(a.length + b.length);
  let atA = 0;
  let atB = 0;
  while (atA < a.length || atB < b.length) {
    const takeA = atB >= b.length || (atA < a.length && a[atA]! <= b[atB]!);
    if (takeA) {
      writer.add(a[atA]!, a[atA + 1]!);
      atA += 2;
    } else {
      writer.add(b[atB]!, b[atB + 1]!);
      atB += 2;
    }
  }
  return writer.finish();
}

/** Bytes in both. */
export function intersect(a: Float64Array, b: Float64Array): Float64Array {
  const writer = new ExtentWriter(a.length + b.length);
  let atA = 0;
  let atB = 0;
  while (atA < a.length && atB < b.length) {
    const endA = a[atA]! + a[atA + 1]!;
    const endB = b[atB]! + b[atB + 1]!;
    const start = Math.max(a[atA]!, b[atB]!);
    writer.add(start, Math.min(endA, endB) - start);
    if (endA <= endB) atA += 2;
    else atB += 2;
  }
  return writer.finish();
}

/** Bytes in `a` that are not in `b`. */
export function subtract(a: Float64Array, b: Float64Array): Float64Array {
  const writer = new ExtentWriter(a.length + b.length);
  let atB = 0;
  for (let atA = 0; atA < a.length; atA += 2) {
    const end = a[atA]! + a[atA + 1]!;
    let position = a[atA]!;
    while (atB < b.length && b[atB]! + b[atB + 1]! <= position) atB += 2;
    for (let cut = atB; cut < b.length && b[cut]! < end; cut += 2) {
      writer.add(position, b[cut]! - position);
      position = b[cut]! + b[cut + 1]!;
      atB = cut;
    }
    writer.add(position, end - position);
  }
  return writer.finish();
}

/** The sum of all lengths. */
export function totalBytes(extents: Float64Array): number {
  let total = 0;
  for (let at = 1; at < extents.length; at += 2) total += extents[at]!;
  return total;
}

/** At most `countMax` ranges: neighbours are joined across the smallest gaps, which become part of the list. */
export function coalesceSmallestGaps(extents: Float64Array, countMax: number): Float64Array {
  const gaps = new Float64Array(Math.max(0, extents.length / 2 - 1));
  for (let i = 0; i < gaps.length; i++)
    gaps[i] = extents[2 * i + 2]! - extents[2 * i]! - extents[2 * i + 1]!;
  let excess = extents.length / 2 - countMax;
  if (excess <= 0) return extents;
  const limitBytes = gaps.toSorted()[excess - 1]!;
  // All gaps below the limit go; of those equal to it as many as it still takes.
  for (const gap of gaps) if (gap < limitBytes) excess--;
  const writer = new ExtentWriter(extents.length);
  for (let at = 0; at < extents.length; at += 2) {
    const gap = at === 0 ? Infinity : gaps[at / 2 - 1]!;
    const joins = gap < limitBytes || (gap === limitBytes && excess-- > 0);
    const start = extents[at]! - (joins ? gap : 0);
    writer.add(start, extents[at]! + extents[at + 1]! - start);
  }
  return writer.finish();
}

/** Bytes before `capacityBytes` that are not in the list. */
export function complement(extents: Float64Array, capacityBytes: number): Float64Array {
  return subtract(whole(capacityBytes), extents);
}

/** One range from 0 to `capacityBytes`. */
export function whole(capacityBytes: number): Float64Array {
  return capacityBytes > 0 ? Float64Array.of(0, capacityBytes) : new Float64Array(0);
}

/** True where all other functions of this file may be used without `normalize`. */
export function isNormal(extents: Float64Array): boolean {
  if (extents.length % 2 !== 0) return false;
  let end = -1;
  for (let at = 0; at < extents.length; at += 2) {
    const offset = extents[at]!;
    const length = extents[at + 1]!;
    if (!isByteCount(offset) || !isByteCount(length) || length === 0) return false;
    if (offset <= end || !Number.isSafeInteger(offset + length)) return false;
    end = offset + length;
  }
  return true;
}

/** The first thing wrong with a list of ranges of a disk of this size, in any order; or undefined. */
export function findRangeFault(pairs: Float64Array, capacityBytes: number): string | undefined {
  if (pairs.length % 2 !== 0) return "a range lacks its length";
  for (let at = 0; at < pairs.length; at += 2) {
    const offset = pairs[at]!;
    const length = pairs[at + 1]!;
    if (!isByteCount(offset) || !isByteCount(length) || length === 0)
      return `no range: ${offset}+${length}`;
    if (offset + length > capacityBytes) return `${offset}+${length} is past ${capacityBytes}`;
  }
  return undefined;
}

/** Collects ranges that come in order of their offsets; joins those that overlap or touch. */
class ExtentWriter {
  readonly #pairs: Float64Array;
  #used = 0;

  constructor(entriesMax: number) {
    this.#pairs = new Float64Array(entriesMax + 2);
  }

  /** Nothing is added where `length` is not positive. */
  add(offset: number, length: number): void {
    if (!(length > 0)) return;
    const pairs = this.#pairs;
    const last = this.#used - 2;
    if (last >= 0 && offset <= pairs[last]! + pairs[last + 1]!) {
      pairs[last + 1] = Math.max(pairs[last + 1]!, offset + length - pairs[last]!);
      return;
    }
    pairs[this.#used] = offset;
    pairs[this.#used + 1] = length;
    this.#used += 2;
  }

  /** A copy of its own where much of the space was not needed, so that it can be freed. */
  finish(): Float64Array {
    const filled = this.#pairs.subarray(0, this.#used);
    return filled.length * 2 < this.#pairs.length ? filled.slice() : filled;
  }
}

function assertPairs(pairs: Float64Array): void {
  if (pairs.length % 2 !== 0) {
    throw new RangeError(`extents must come in pairs, got ${pairs.length} numbers`);
  }
  for (let at = 0; at < pairs.length; at += 2) {
    const offset = pairs[at]!;
    const length = pairs[at + 1]!;
    const fits = isByteCount(offset) && isByteCount(length) && isByteCount(offset + length);
    if (!fits) throw new RangeError(`not a range of bytes: offset ${offset}, length ${length}`);
  }
}

function isByteCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function isSorted(pairs: Float64Array): boolean {
  for (let at = 2; at < pairs.length; at += 2) if (pairs[at]! < pairs[at - 2]!) return false;
  return true;
}
