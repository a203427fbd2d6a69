import { hostname } from "node:os";
import { buildInfo } from "../../build-info.ts";
import { exitCodes } from "../../errors.ts";
import { openFleet } from "../../fleet/operation.ts";
import { type WorkDone, WorkerWatch } from "../../fleet/worker/watch.ts";
import { type LeasedJob, runWorker } from "../../fleet/worker/worker.ts";
import { runCycle } from "../../migration/cycle/cycle.ts";
import type { ProgressSnapshot } from "../../progress/progress.ts";
import type { CommandContext } from "../../report/context.ts";
import { workerMetricsText } from "../../report/fleet/metrics.ts";
import { serveMetrics } from "../../report/fleet/serve-metrics.ts";
import { failureDocument, printJson } from "../../report/json/json.ts";
import type { LogView, ProgressView } from "../../report/log-view.ts";
import { reported } from "../../report/report.ts";
import { counted, hostAndPort } from "../../text.ts";
import { cutOver } from "../cutover.ts";

/** `migratekit fleet work`: what each appliance of a fleet runs, until it is ended. */
export async function run(context: CommandContext): Promise<number> {
  const { config, logger, signal, view, flags } = context;
  const worker = {
    name: config.workerName ?? hostname(),
    labels: config.label ?? [],
    version: buildInfo.version,
    parallel: config.parallelVms,
  };
  await using store = await openFleet(config, logger);
  const watch = new WorkerWatch(worker);
  await using _metrics = await listen(context, watch);
  const perform = (job: LeasedJob) => performJob(job, view);
  const runs = await runWorker({ config, flags, logger, signal, store, worker, watch, perform });
  if (config.json) printJson({ worker: worker.name, runs });
  else logger.info(doneText(worker.name, runs));
  return exitCodes.success;
}

/** What Prometheus may ask of this worker, to the end of its last run. */
async function listen(
  { config, logger }: CommandContext,
  watch: WorkerWatch,
): Promise<AsyncDisposable | undefined> {
  if (config.metricsListen === undefined) return undefined;
  const server = await serveMetrics(config.metricsListen, () => workerMetricsText(watch.facts()));
  const { host, port } = server.address;
  logger.info(`metrics of this worker at http://${hostAndPort(host, port)}/metrics`);
  return server;
}

/** As the command of its name does it. */
async function performJob(job: LeasedJob, shared: LogView): Promise<void> {
  const { config, logger, signal } = job.context;
  const context = { config, logger, signal, view: viewOf(shared, job.name) };
  if (job.action === "cutover") {
    await cutOver(
      context,
      job.context,
      ({ outcome, facts }) => job.onEnding({ ...documentOf(outcome), ...facts }),
      (reporter) => job.onReporter(reporter),
    );
    return;
  }
  await reported(
    context,
    (reporter) => {
      job.onReporter(reporter);
      return runCycle({ ...job.context, reporter });
    },
    (outcome) => job.onEnding(documentOf(outcome)),
  );
}

function documentOf(outcome: { readonly ending: object; readonly error?: unknown }): object {
  return { ...("error" in outcome && failureDocument(outcome.error)), ...outcome.ending };
}

/** Each VM tells in log lines of its own how far it is. */
function viewOf(view: LogView, name: string): ProgressView {
  let lines: ReturnType<LogView["notLive"]> | undefined;
  return {
    follow: (snapshot: () => ProgressSnapshot, logger) => {
      lines = view.notLive(logger, name);
      lines.start(snapshot);
    },
    stageChanged: () => lines?.stageChanged(),
    stop: () => lines?.stop(),
  };
}

function doneText(worker: string, { completed, failed, interrupted, lost }: WorkDone): string {
  const all = counted(completed + failed + interrupted + lost, "run");
  return `worker ${worker} has ended: ${all}, ${failed} failed, ${interrupted} given back, ${lost} lost`;
}
