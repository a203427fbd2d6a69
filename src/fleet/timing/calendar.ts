/** Weekly windows as spans of time, found once and looked up often. */
import type { WeeklyWindow } from "../fleet.ts";
import { closes, nextOpening } from "./windows.ts";

interface Span {
  readonly opensAt: number;
  readonly closesAt: number;
}

/** From an instant on; times before it are not asked for. Instants are ms since 1970 in UTC. */
export class Calendar {
  readonly #windows: readonly WeeklyWindow[];
  readonly #spans: Span[] = [];
  #knownUntil: number;

  constructor(windows: readonly WeeklyWindow[], from: number) {
    this.#windows = windows;
    this.#knownUntil = from;
  }

  isOpen(at: number): boolean {
    return this.#from(at).opensAt <= at;
  }

  /** `at` itself where they are open then. */
  nextOpening(at: number): number {
    return Math.max(at, this.#from(at).opensAt);
  }

  /** When that closes which is open at `at`, or the next one. */
  closes(at: number): number {
    return this.#from(at).closesAt;
  }

  /** The last instant up to `at` at which they were open; -Infinity: none since the beginning. */
  lastOpen(at: number): number {
    const next = this.#from(at);
    if (next.opensAt <= at) return at;
    const before = this.#spans[this.#spans.indexOf(next) - 1];
    return before?.closesAt ?? Number.NEGATIVE_INFINITY;
  }

  /** The span that `at` lies in, or the next one. */
  #from(at: number): Span {
    while (this.#knownUntil <= at || this.#spans.length === 0) {
      const opensAt = nextOpening(this.#windows, this.#knownUntil);
      const closesAt = closes(this.#windows, opensAt);
      this.#spans.push({ opensAt, closesAt });
      this.#knownUntil = closesAt;
    }
    let [low, high] = [0, this.#spans.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#spans[middle]!.closesAt > at) high = middle;
      else low = middle + 1;
    }
    return this.#spans[low]!;
  }
}
