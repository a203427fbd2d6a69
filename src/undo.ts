import type { Logger } from "pino";
import { messageOf } from "./errors.ts";

/**
 * Does `work`, then undoes what it put on the stack, well or not.
 * @throws what `work` throws; without such an error the first undo's failure
 */
export async function withUndo<T>(
  logger: Logger,
  work: (undo: UndoStack) => Promise<T>,
): Promise<T> {
  await using undo = new UndoStack(logger);
  const result = await work(undo);
  const failure = await undo.unwind();
  if (failure !== undefined) throw failure;
  return result;
}

/**
 * The language's own stack of undos (newest first, every one tried), with a name for each: one that
 * fails is logged by it, and does not hide the error that brought us here.
 */
export class UndoStack implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly #logger: Logger;
  #failure: unknown;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  defer(what: string, undo: () => void | Promise<void>): void {
    this.#stack.defer(async () => {
      try {
        await undo();
      } catch (error) {
        this.#failure ??= error;
        this.#logger.error({ step: what }, `could not ${what}: ${messageOf(error)}`);
      }
    });
  }

  use<T extends AsyncDisposable | Disposable>(what: string, resource: T): T {
    this.defer(what, async () => {
      if (Symbol.asyncDispose in resource) await resource[Symbol.asyncDispose]();
      else resource[Symbol.dispose]();
    });
    return resource;
  }

  /** Runs every undo; a second call does nothing. Gives the first failure, if any. Never rejects. */
  async unwind(): Promise<unknown> {
    await this.#stack.disposeAsync();
    return this.#failure;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.unwind();
  }
}
