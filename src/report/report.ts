/** A run as those outside see it: shown on stderr, posted to the VMA API, ended once, well or not. */
import type { Config } from "../config.ts";
import { messageOf } from "../errors.ts";
import { redact } from "../logger.ts";
import type { Reporter } from "../migration/vm/held-vm.ts";
import { ProgressTracker, type Stage } from "../progress/progress.ts";
import { VmaClient } from "../progress/vma/vma.ts";
import type { CommandContext } from "./context.ts";
import type { ProgressView } from "./log-view.ts";
import { writeMetrics } from "./metrics-file.ts";

/** What a report needs: settings and logger of its run, and where to show it. */
export type ReportContext = Pick<CommandContext, "config" | "logger"> & {
  readonly view: ProgressView;
};

/** Does `work`, which tells the reporter how far it is. Gives what it gives, throws what it throws. */
export async function reported<T>(
  context: ReportContext,
  work: (reporter: Reporter) => Promise<T>,
): Promise<T> {
  const reporter = new RunReporter(context);
  try {
    const result = await work(reporter);
    await reporter.complete();
    return result;
  } catch (error) {
    await reporter.fail(error);
    throw error;
  }
}

class RunReporter implements Reporter {
  readonly tracker = new ProgressTracker();
  readonly #context: ReportContext;
  readonly #client: VmaClient | undefined;

  constructor(context: ReportContext) {
    this.#context = context;
    this.#client = openClient(context.config, context);
    const snapshot = () => this.tracker.snapshot();
    this.#client?.start(snapshot);
    context.view.follow(snapshot, context.logger, context.config.progress);
  }

  stage(stage: Stage, detail?: string): void {
    const before = this.tracker.snapshot().stage;
    this.tracker.setStage(stage, detail);
    if (stage === before) return;
    this.#context.logger.debug({ stage }, `stage ${stage}`);
    this.#client?.stageChanged();
    this.#context.view.stageChanged();
  }

  /** The one `completed` of the job. */
  async complete(): Promise<void> {
    this.stage("Complete");
    this.#context.view.stop();
    this.#writeMetrics(false);
    await this.#client?.finish({ status: "completed" });
  }

  /** The one `failed` of the job. */
  async fail(error: unknown): Promise<void> {
    this.#context.view.stop();
    this.#writeMetrics(true);
    await this.#client?.finish({ status: "failed", errorMessage: redact(messageOf(error)) });
  }

  #writeMetrics(failed: boolean): void {
    writeMetrics(this.#context.config, failed, this.#context.logger);
  }
}

function openClient(config: Config, { logger }: ReportContext): VmaClient | undefined {
  if (config.jobId === undefined) return undefined;
  return new VmaClient({ baseUrl: config.vmaUrl, jobId: config.jobId, logger });
}
