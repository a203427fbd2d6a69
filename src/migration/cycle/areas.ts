import { ExtentCollector } from "../../range-set.ts";

/** So many pages are awaited before copying begins; what comes later is copied as it comes. */
const pagesFirst = 16;

export interface AreaPages {
  /** The first pages, as one list. */
  readonly first: Float64Array;
  /** What vSphere has not told yet; absent when `first` is all. To be iterated once. */
  readonly rest?: AsyncIterable<Float64Array>;
}

/**
 * Reads the first pages of a long answer and leaves the rest for later, so that a disk with hundreds
 * of thousands of changes is being copied while vSphere still lists them.
 */
export async function readFirstPages(pages: AsyncIterable<Float64Array>): Promise<AreaPages> {
  const iterator = pages[Symbol.asyncIterator]();
  const collector = new ExtentCollector();
  for (let count = 0; count < pagesFirst; count++) {
    const page = await iterator.next();
    if (page.done) return { first: collector.finish() };
    collector.add(page.value);
  }
  return { first: collector.finish(), rest: { [Symbol.asyncIterator]: () => iterator } };
}

/** `first` and then the rest; `onPage` sees each page of the rest before the engine does. */
export async function* joinPages(
  first: Float64Array,
  rest: AsyncIterable<Float64Array>,
  onPage: (page: Float64Array) => void,
): AsyncGenerator<Float64Array> {
  yield first;
  for await (const page of rest) {
    onPage(page);
    yield page;
  }
}
