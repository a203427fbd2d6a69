/** Bytes per second over a sliding window. */

/** Reports within this time share a sample, so that a window is a few dozen numbers at most. */
const sampleMs = 250;
/** A rate over less time than this is noise. */
const shortestMs = 1000;

export class RateWindow {
  readonly #windowMs: number;
  /** Sum of all bytes reported up to and including `atMs`, oldest first. */
  #samples: { atMs: number; sumBytes: number }[] = [];
  #sumBytes = 0;
  #startedAtMs: number;

  constructor(windowMs: number, startedAtMs: number) {
    this.#windowMs = windowMs;
    this.#startedAtMs = startedAtMs;
  }

  add(bytes: number, nowMs: number): void {
    // Waiting before the first byte is not slowness.
    if (this.#sumBytes === 0) this.#startedAtMs = Math.max(this.#startedAtMs, nowMs - sampleMs);
    this.#sumBytes += bytes;
    const newest = this.#samples.at(-1);
    if (newest !== undefined && nowMs - newest.atMs < sampleMs) newest.sumBytes = this.#sumBytes;
    else this.#samples.push({ atMs: nowMs, sumBytes: this.#sumBytes });
    this.#forget(nowMs);
  }

  bytesPerSecond(nowMs: number): number {
    this.#forget(nowMs);
    const windowStartMs = nowMs - this.#windowMs;
    const oldest = this.#samples[0];
    const known = oldest !== undefined && oldest.atMs <= windowStartMs;
    const fromMs = Math.max(windowStartMs, this.#startedAtMs);
    const bytes = this.#sumBytes - (known ? oldest.sumBytes : 0);
    return (bytes * 1000) / Math.max(shortestMs, nowMs - fromMs);
  }

  /** Drops what lies before the window, but for the newest of it: the sum that the window began with. */
  #forget(nowMs: number): void {
    while (this.#samples.length > 1 && this.#samples[1]!.atMs <= nowMs - this.#windowMs) {
      this.#samples.shift();
    }
  }
}
