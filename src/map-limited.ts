/**
 * Runs `work` on every item, at most `limit` at a time, and gives the results in item order. All are
 * run to their end; the first failure in item order is thrown then.
 */
export async function mapLimited<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const running: Promise<R>[] = new Array(items.length);
  let next = 0;
  const lane = async () => {
    while (next < items.length) {
      const index = next++;
      running[index] = work(items[index]!, index);
      await Promise.allSettled([running[index]]);
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, lane));
  return await Promise.all(running);
}
