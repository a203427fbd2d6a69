/** Progress in pipes and log files: one line per stage and one per minute. */
import type { Logger } from "pino";
import { reportOnly } from "../report-only.ts";
import { formatBytesOf, formatDuration, formatRate } from "../text.ts";
import type { ProgressSnapshot, Stage } from "./progress.ts";

interface PlainOptions {
  readonly logger: Logger;
  /** [60 000] */
  readonly intervalMs?: number;
}

export class PlainProgress implements Disposable {
  readonly #logger: Logger;
  readonly #intervalMs: number;
  #getSnapshot: (() => ProgressSnapshot) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #loggedStage: Stage | undefined;

  constructor(options: PlainOptions) {
    this.#logger = options.logger;
    this.#intervalMs = options.intervalMs ?? 60_000;
  }

  start(getSnapshot: () => ProgressSnapshot): void {
    this.#getSnapshot = getSnapshot;
    this.stageChanged();
    this.#timer ??= setInterval(() => {
      reportOnly(this.#logger, "the progress cannot be shown", () => this.#log(getSnapshot()));
    }, this.#intervalMs).unref();
  }

  /** Call after every change of the stage; the same stage with another detail makes no line. */
  stageChanged(): void {
    const state = this.#getSnapshot?.();
    if (state === undefined || state.stage === this.#loggedStage) return;
    this.#loggedStage = state.stage;
    this.#log(state);
    this.#timer?.refresh();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#getSnapshot = undefined;
  }

  [Symbol.dispose](): void {
    this.stop();
  }

  #log(state: ProgressSnapshot): void {
    const { transferredBytes, totalBytes, percent, throughputBps } = state.total;
    const amounts =
      state.disks.length === 0
        ? {}
        : {
            percent,
            doneBytes: transferredBytes,
            plannedBytes: totalBytes,
            rateBps: throughputBps,
          };
    this.#logger.info({ stage: state.stage, ...amounts }, plainText(state));
  }
}

/** `Transfer: 45.2 %, 12.3/27.0 GiB, 110 MiB/s, about 2:13 left`. */
function plainText(state: ProgressSnapshot): string {
  const { transferredBytes, totalBytes, percent, throughputBps, etaSeconds } = state.total;
  const parts: string[] = [];
  if (state.detail !== undefined) parts.push(state.detail);
  if (state.stage === "Transfer" && state.disks.length > 0) {
    parts.push(`${percent} %`, formatBytesOf(transferredBytes, totalBytes));
    if (throughputBps > 0) parts.push(formatRate(throughputBps));
    if (etaSeconds !== undefined) parts.push(`about ${formatDuration(etaSeconds)} left`);
  }
  return parts.length === 0 ? state.stage : `${state.stage}: ${parts.join(", ")}`;
}
