/** Numbers from a seed (mulberry32), so that a round can be played again. */
export function randomNumbers(seed: number) {
  let state = seed >>> 0;
  return {
    /** A whole number from 0 to `limit` - 1. */
    below(limit: number): number {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
    },
  };
}
