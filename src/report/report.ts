/** A run as those outside see it: shown on stderr, posted to the VMA API, ended once, well or not. */
import type { Config } from "../config.ts";
import type { Ending, Figures, RunEnding } from "../ending.ts";
import { messageOf } from "../errors.ts";
import { redact } from "../logger.ts";
import { Account, endingOf } from "../migration/account/account.ts";
import type { Reporter } from "../migration/vm/held-vm.ts";
import { ProgressTracker, type Stage } from "../progress/progress.ts";
import { VmaClient } from "../progress/vma/vma.ts";
import { reportOnly } from "../report-only.ts";
import { formatBytes } from "../text.ts";
import type { CommandContext } from "./context.ts";
import type { Outcome } from "./ending/ending.ts";
import { figuresText, whatEnded } from "./ending/text.ts";
import { withHooks } from "./hooks/hooks.ts";
import type { ProgressView } from "./log-view.ts";
import { writeMetrics } from "./metrics-file.ts";

/** What a report needs: settings and logger of its run, and where to show it. */
export type ReportContext = Pick<CommandContext, "config" | "logger" | "signal"> & {
  readonly view: ProgressView;
};

/**
 * Does `work`, which tells the reporter how far it is. Gives what it gives, throws what it throws; `tell`
 * is told of either before, when all that was shown and posted has ended.
 */
export async function reported<T>(
  context: ReportContext,
  work: (reporter: Reporter) => Promise<T>,
  tell: (outcome: Outcome<T>) => void = () => {},
): Promise<T> {
  return await withHooks(context, (before) => {
    const begun = async (reporter: Reporter) => {
      const waits = waitsFor(context.config);
      if (waits !== undefined) reporter.stage("Discover", `waiting for ${waits}`);
      await before();
      return await work(reporter);
    };
    return toldOf(context, begun, tell);
  });
}

/** What of the operator's comes before anything else. */
function waitsFor({ hookBefore, webhook, webhookRequired }: Config): string | undefined {
  if (hookBefore !== undefined) return "--hook-before";
  return webhook !== undefined && webhookRequired ? "--webhook" : undefined;
}

/** For commands that are no syncs: jobs of the VMA API, metrics and hooks are about those. */
export function withoutSync(config: Config): Config {
  const none = { jobId: undefined, metricsFile: undefined, webhook: undefined };
  return { ...config, ...none, hookBefore: undefined, hookAfter: undefined };
}

async function toldOf<T>(
  context: ReportContext,
  work: (reporter: Reporter) => Promise<T>,
  tell: (outcome: Outcome<T>) => void,
): Promise<T> {
  const reporter = new RunReporter(context);
  let result: T;
  try {
    result = await work(reporter);
  } catch (error) {
    tell({ ending: await reporter.fail(error), earlier: reporter.earlier, error });
    throw error;
  }
  tell({ ending: await reporter.complete(), earlier: reporter.earlier, result });
  return result;
}

/** Tells; whatever goes wrong with that is a warning and no more. */
class RunReporter implements Reporter {
  readonly tracker = new ProgressTracker();
  readonly account = new Account();
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

  /** Of a cutover: the syncs before the last one. */
  get earlier(): RunEnding[] {
    return this.account.runs.slice(0, -1).map((run) => run.facts());
  }

  /** The one `completed` of the job. Never rejects. */
  async complete(): Promise<Ending> {
    const ending = endingOf(this.#context.config, this.account, {});
    this.stage("Complete");
    this.#end(ending);
    await this.#client?.finish({ status: "completed", ending });
    return ending;
  }

  /** The one `failed` of the job. Never rejects. */
  async fail(error: unknown): Promise<Ending> {
    const ending = endingOf(this.#context.config, this.account, { error });
    this.#end(ending);
    const errorMessage = redact(messageOf(error));
    await this.#client?.finish({ status: "failed", errorMessage, ending });
    return ending;
  }

  #end(ending: Ending): void {
    const { config, view, logger } = this.#context;
    this.#show(() => view.stop());
    this.#log(ending);
    const failed = ending.status !== "completed";
    const path = config.metricsFile;
    if (path === undefined) return;
    reportOnly(logger, `the metrics file ${path} was not written`, () =>
      writeMetrics(config, path, failed),
    );
  }

  /** The log's last line of a run that has done something. */
  #log(ending: Ending): void {
    const { command, status, run_id, disks = [], total, vm } = ending;
    if (run_id === undefined || total === undefined) return;
    const text = `${vm?.path}: ${whatEnded(ending)}`;
    if (disks.length === 0) {
      this.#context.logger.info({ runId: run_id, status }, text);
      return;
    }
    const figures =
      command === "verify" ? `${formatBytes(total.compared_bytes)} compared` : figuresText(total);
    this.#context.logger.info({ runId: run_id, status, ...inLog(total) }, `${text}: ${figures}`);
  }

  #show(show: () => void): void {
    reportOnly(this.#context.logger, "the progress cannot be shown", show);
  }
}

/** In the log names are written as everywhere in it. */
function inLog(total: Figures) {
  return {
    plannedBytes: total.planned_bytes,
    readBytes: total.read_bytes,
    writtenBytes: total.written_bytes,
    zeroedBytes: total.zeroed_bytes,
    unchangedBytes: total.unchanged_bytes,
    comparedBytes: total.compared_bytes,
    rateBps: total.rate_bps,
  };
}

function openClient(config: Config, { logger }: ReportContext): VmaClient | undefined {
  if (config.jobId === undefined) return undefined;
  return new VmaClient({ baseUrl: config.vmaUrl, jobId: config.jobId, logger });
}
