import type { Logger } from "pino";
import { messageOf } from "../../errors.ts";

/**
 * The undo stack of a run: newest first, every undo tried. An undo that fails is logged and does
 * not hide the error that brought us here; without such an error the first failure is thrown.
 */
export class UndoStack implements AsyncDisposable {
  readonly #steps: { what: string; undo: () => void | Promise<void> }[] = [];
  readonly #logger: Logger;
  #failure: unknown;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  defer(what: string, undo: () => void | Promise<void>): void {
    this.#steps.push({ what, undo });
  }

  use<T extends AsyncDisposable | Disposable>(what: string, resource: T): T {
    this.defer(what, async () => {
      if (Symbol.asyncDispose in resource) await resource[Symbol.asyncDispose]();
      else resource[Symbol.dispose]();
    });
    return resource;
  }

  /** Runs every undo; a second call does nothing. Gives the first failure, if any. */
  async unwind(): Promise<unknown> {
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      try {
        await step.undo();
      } catch (error) {
        this.#failure ??= error;
        this.#logger.error({ step: step.what }, `could not ${step.what}: ${messageOf(error)}`);
      }
    }
    return this.#failure;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.unwind();
  }
}
