/** `status` without a job: the runs that are at work on this machine. */
import { setTimeout as sleep } from "node:timers/promises";
import { MigratekitError } from "../../errors.ts";
import { State } from "../../state/state.ts";
import type { CommandContext } from "../context.ts";
import { printJson } from "../json/json.ts";
import { statusDocument } from "../json/status.ts";
import { factsText, statusText } from "../status-text.ts";
import { sheetOf } from "../table.ts";
import { endingOf, type LocalRun, localRuns } from "./local-runs.ts";
import { Screen } from "./screen.ts";

const watchIntervalMs = 2000;

/**
 * The runs that are at work here, with `--watch` until each that was seen has ended.
 * @throws MigratekitError `job-failed` for the first of them that did not end well; `state-unusable`
 */
export async function showLocalRuns({ config, signal }: CommandContext): Promise<void> {
  const screen = new Screen(config.cursor);
  const seen = new Map<string, LocalRun>();
  for (;;) {
    using state = State.openExisting(config.stateDir);
    const runs = state === undefined ? [] : localRuns(state, config.stateDir);
    for (const found of runs) seen.set(found.run.runId, found);
    if (config.json) printJson({ state_dir: config.stateDir, runs: runs.map(runDocument) });
    else if (runs.length > 0) screen.show(runsText(runs, config, screen.isLive || !config.watch));
    if (!config.watch || runs.length === 0) {
      if (state === undefined || seen.size === 0) sayNone(config);
      else if (config.watch) closeWith(state, [...seen.values()], config);
      return;
    }
    await sleep(watchIntervalMs, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}

function runsText(
  runs: readonly LocalRun[],
  config: CommandContext["config"],
  whole: boolean,
): string {
  const text = ({ job }: LocalRun) =>
    whole ? statusText(job, sheetOf(config)) : `${factsText(job)}\n`;
  return runs.map(text).join(whole ? "\n" : "");
}

function runDocument({ vm, run, job }: LocalRun) {
  const { job_id: _, ...progress } = statusDocument(job);
  return {
    vm_path: vm.vmPath,
    run_id: run.runId,
    command: run.command,
    started_at: run.startedAt,
    ...progress,
  };
}

function sayNone({ json, stateDir }: CommandContext["config"]): void {
  if (json) return;
  process.stdout.write(
    `no run is at work here (${stateDir}); 'migratekit status JOB' shows a job of the VMA API\n`,
  );
}

function closeWith(
  state: State,
  seen: readonly LocalRun[],
  { json }: CommandContext["config"],
): void {
  const endings = seen.map((local) => ({ local, end: endingOf(state, local) }));
  for (const { local, end } of endings) {
    if (!json) process.stdout.write(`${local.job.jobId}: ${end.status}\n`);
  }
  const bad = endings.find(({ end }) => end.status !== "completed");
  if (bad === undefined) return;
  const { status, message } = bad.end;
  throw new MigratekitError(
    "job-failed",
    `the run ${bad.end.runId} of ${bad.local.vm.vmPath} ended as ${status}: ${message ?? "it left no word"}`,
  );
}
