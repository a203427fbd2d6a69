import type { Config } from "../config.ts";
import { Engine } from "../nbd/copy-engine/copy-engine.ts";

/** For all disks of a run; `maxRate` in bytes per second, undefined: no limit. @throws `native-missing` */
export function openEngine(
  config: Pick<Config, "maxRate" | "stallTimeout" | "flushTimeout">,
): Engine {
  return new Engine({
    maxBytesPerSecond: config.maxRate,
    stallTimeoutMs: config.stallTimeout,
    flushTimeoutMs: config.flushTimeout,
  });
}
