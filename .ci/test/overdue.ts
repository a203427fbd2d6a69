import type { Process } from "./process-tree.ts";

type Child = Pick<Process, "pid" | "startedTicks">;

/** Which test files take too long, told by looking at the runner's children now and then. */
export class OverdueFiles {
  readonly #limitMs: number;
  /** When each process was first seen. A long run uses a pid twice, so the start is part of the key. */
  readonly #firstSeenMs = new Map<string, number>();

  constructor(limitMs: number) {
    this.#limitMs = limitMs;
  }

  /** The children whose time is over. */
  look<C extends Child>(children: readonly C[], nowMs: number): C[] {
    return children.filter(({ pid, startedTicks }) => {
      const key = `${pid} ${startedTicks}`;
      const firstSeenMs = this.#firstSeenMs.get(key) ?? nowMs;
      this.#firstSeenMs.set(key, firstSeenMs);
      return nowMs - firstSeenMs >= this.#limitMs;
    });
  }
}
