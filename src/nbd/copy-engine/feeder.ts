import { checkPage } from "./checks.ts";
import type { NativeCopy } from "./native-types.ts";

const pageValues = 2 * 4096;

/** Hands extents to the native job page by page, as fast as it takes them. */
export class Feeder {
  readonly #extents: Float64Array | AsyncIterable<Float64Array> | undefined;
  readonly #controller: AbortController;
  #stopped = false;
  #wake: (() => void) | undefined;

  constructor(
    extents: Float64Array | AsyncIterable<Float64Array> | undefined,
    controller: AbortController,
  ) {
    this.#extents = extents;
    this.#controller = controller;
  }

  start(task: NativeCopy): void {
    if (this.#extents === undefined) return;
    this.#feed(this.#extents, task).catch((error) => this.#controller.abort(error));
  }

  hungry(): void {
    this.#wake?.();
  }

  stop(): void {
    this.#stopped = true;
    this.#wake?.();
  }

  async #feed(
    extents: Float64Array | AsyncIterable<Float64Array>,
    task: NativeCopy,
  ): Promise<void> {
    let end = 0;
    if (extents instanceof Float64Array) {
      checkPage(extents, end);
      await this.#page(extents, task);
    } else {
      for await (const page of extents) {
        end = checkPage(page, end);
        await this.#page(page, task);
        if (this.#stopped) return;
      }
    }
    if (!this.#stopped) task.end();
  }

  async #page(page: Float64Array, task: NativeCopy): Promise<void> {
    for (let at = 0; at < page.length && !this.#stopped; at += pageValues) {
      const part = page.subarray(at, at + pageValues);
      // The promise is made first: the event may come before push() has returned.
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      if (!task.push(part)) await promise;
    }
  }
}
