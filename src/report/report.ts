/** A run as those outside see it: shown on stderr, posted to the VMA API, ended once, well or not. */
import type { Config } from "../config.ts";
import { messageOf } from "../errors.ts";
import { redact } from "../logger.ts";
import type { Reporter } from "../migration/vm/held-vm.ts";
import { ProgressTracker, type Stage } from "../progress/progress.ts";
import { VmaClient } from "../progress/vma/vma.ts";
import { reportOnly } from "../report-only.ts";
import type { CommandContext } from "./context.ts";
import { withHooks } from "./hooks/hooks.ts";
import type { ProgressView } from "./log-view.ts";
import { writeMetrics } from "./metrics-file.ts";

/** What a report needs: settings and logger of its run, and where to show it. */
export type ReportContext = Pick<CommandContext, "config" | "logger" | "signal"> & {
  readonly view: ProgressView;
};

/** Does `work`, which tells the reporter how far it is. Gives what it gives, throws what it throws. */
export async function reported<T>(
  context: ReportContext,
  work: (reporter: Reporter) => Promise<T>,
): Promise<T> {
  return await withHooks(context, (before) =>
    toldOf(context, async (reporter) => {
      if (context.config.hookBefore !== undefined) {
        reporter.stage("Discover", "waiting for --hook-before");
      }
      await before();
      return await work(reporter);
    }),
  );
}

async function toldOf<T>(
  context: ReportContext,
  work: (reporter: Reporter) => Promise<T>,
): Promise<T> {
  const reporter = new RunReporter(context);
  let result: T;
  try {
    result = await work(reporter);
  } catch (error) {
    await reporter.fail(error);
    throw error;
  }
  await reporter.complete();
  return result;
}

/** Tells; whatever goes wrong with that is a warning and no more. */
class RunReporter implements Reporter {
  readonly tracker = new ProgressTracker();
  readonly #context: ReportContext;
  readonly #client: VmaClient | undefined;

  constructor(context: ReportContext) {
    this.#context = context;
    this.#client = openClient(context.config, context);
    const { view, logger, config } = context;
    const snapshot = () => this.tracker.snapshot();
    this.#client?.start(snapshot);
    this.#show(() => view.follow(snapshot, logger, config.progress));
  }

  stage(stage: Stage, detail?: string): void {
    const before = this.tracker.snapshot().stage;
    this.tracker.setStage(stage, detail);
    if (stage === before) return;
    this.#context.logger.debug({ stage }, `stage ${stage}`);
    this.#client?.stageChanged();
    this.#show(() => this.#context.view.stageChanged());
  }

  /** The one `completed` of the job. Never rejects. */
  async complete(): Promise<void> {
    this.stage("Complete");
    this.#end(false);
    await this.#client?.finish({ status: "completed" });
  }

  /** The one `failed` of the job. Never rejects. */
  async fail(error: unknown): Promise<void> {
    this.#end(true);
    await this.#client?.finish({ status: "failed", errorMessage: redact(messageOf(error)) });
  }

  #end(failed: boolean): void {
    const { config, view, logger } = this.#context;
    this.#show(() => view.stop());
    const path = config.metricsFile;
    if (path === undefined) return;
    reportOnly(logger, `the metrics file ${path} was not written`, () =>
      writeMetrics(config, path, failed),
    );
  }

  #show(show: () => void): void {
    reportOnly(this.#context.logger, "the progress cannot be shown", show);
  }
}

function openClient(config: Config, { logger }: ReportContext): VmaClient | undefined {
  if (config.jobId === undefined) return undefined;
  return new VmaClient({ baseUrl: config.vmaUrl, jobId: config.jobId, logger });
}
