/** How long to go on when there is no answer, or one that makes no sense. */

import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { MigratekitError } from "../../errors.ts";
import type { EndpointError } from "./faults.ts";

/** An answer that is none: whether the call took effect is not known. */
export function isGarbled(error: unknown): error is MigratekitError {
  return error instanceof MigratekitError && error.code === "vsphere-protocol";
}

/** Rejects with the signal's own reason, where a timer would wrap it. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, signal ? { signal } : {});
  } catch {
    throw signal?.reason;
  }
}

/** Waits between attempts, longer each time, and gives up when the whole outage lasts too long. */
export class Outage {
  readonly #limitMs: number;
  readonly #logger: Logger;
  #startedAt: number | undefined;
  #pauseMs = 250;

  constructor(limitMs: number, logger: Logger) {
    this.#limitMs = limitMs;
    this.#logger = logger;
  }

  async pause(error: EndpointError, signal?: AbortSignal): Promise<void> {
    const now = performance.now();
    if (this.#startedAt === undefined) {
      this.#startedAt = now;
      if (this.#limitMs > 0)
        this.#logger.warn(`vSphere does not answer; trying again for a while: ${error.message}`);
    }
    const leftMs = this.#startedAt + this.#limitMs - now;
    if (leftMs <= 0) throw error;
    await pause(Math.min(this.#pauseMs, leftMs), signal);
    this.#pauseMs = Math.min(this.#pauseMs * 2, 10_000);
  }

  over(): void {
    if (this.#startedAt !== undefined) this.#logger.info("vSphere answers again");
  }
}
