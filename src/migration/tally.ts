/** What the engine did for one disk in a run: every copy and comparison of it adds itself here. */
import type { Figures as EngineFigures } from "../nbd/copy-engine/copy-engine.ts";

export class Tally {
  readBytes = 0;
  writtenBytes = 0;
  zeroedBytes = 0;
  unchangedBytes = 0;
  comparedBytes = 0;
  /** Of the comparisons: what was read of the source for them. */
  comparedReadBytes = 0;
  retries = 0;
  /** When copying began and ended, on the monotonic clock; of `verify`, comparing. */
  fromMs: number | undefined;
  toMs = 0;

  get spanMs(): number {
    return this.fromMs === undefined ? 0 : this.toMs - this.fromMs;
  }

  /** For the engine's copies. */
  readonly copied = (figures: EngineFigures): void => {
    this.readBytes += figures.readBytes;
    this.writtenBytes += figures.writtenBytes;
    this.zeroedBytes += figures.zeroedBytes;
    this.unchangedBytes += figures.skippedBytes;
    this.retries += figures.retries;
    this.took(figures);
  };

  /** For the engine's comparisons. */
  readonly compared = (figures: EngineFigures): void => {
    this.comparedBytes += figures.comparedBytes;
    this.comparedReadBytes += figures.readBytes;
  };

  took({ fromMs, toMs }: Pick<EngineFigures, "fromMs" | "toMs">): void {
    this.fromMs ??= fromMs;
    this.toMs = Math.max(this.toMs, toMs);
  }
}
