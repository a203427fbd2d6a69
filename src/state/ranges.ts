/**
 * The two things the journal needs of lists of ranges (pairs [offset, length, …] of bytes).
 * It keeps its own, as state/ imports nothing from nbd/.
 */

/** One sorted, disjoint list out of several lists in any order; what touches becomes one range. */
export function mergeRanges(lists: readonly Float64Array[]): Float64Array {
  const order = sortedByOffset(lists);
  const merged = new Float64Array(order.length);
  let used = 0;
  for (let i = 0; i < order.length; i += 2) {
    const offset = order[i]!;
    const end = offset + order[i + 1]!;
    const previousEnd = used === 0 ? -1 : merged[used - 2]! + merged[used - 1]!;
    if (offset > previousEnd) {
      merged[used] = offset;
      merged[used + 1] = end - offset;
      used += 2;
    } else if (end > previousEnd) {
      merged[used - 1] = end - merged[used - 2]!;
    }
  }
  return merged.slice(0, used);
}

function sortedByOffset(lists: readonly Float64Array[]): Float64Array {
  const total = lists.reduce((sum, list) => sum + list.length, 0);
  const all = new Float64Array(total);
  let position = 0;
  for (const list of lists) {
    all.set(list, position);
    position += list.length;
  }
  const index = Uint32Array.from({ length: total / 2 }, (_, pair) => pair * 2);
  index.sort((a, b) => all[a]! - all[b]!);
  const sorted = new Float64Array(total);
  index.forEach((from, pair) => {
    sorted[pair * 2] = all[from]!;
    sorted[pair * 2 + 1] = all[from + 1]!;
  });
  return sorted;
}

/** The first thing wrong with a list of ranges of a disk of this size, or undefined. */
export function findRangeFault(ranges: Float64Array, capacityBytes: number): string | undefined {
  if (ranges.length % 2 !== 0) return "a range lacks its length";
  for (let i = 0; i < ranges.length; i += 2) {
    const offset = ranges[i]!;
    const length = ranges[i + 1]!;
    const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
    if (!whole || offset < 0 || length <= 0) return `no range: ${offset}+${length}`;
    if (offset + length > capacityBytes) return `${offset}+${length} is past ${capacityBytes}`;
  }
  return undefined;
}
