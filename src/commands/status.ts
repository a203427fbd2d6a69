import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { exitCodes, MigratekitError } from "../errors.ts";
import { namedVms } from "../migration/known/named.ts";
import { fetchProgress } from "../progress/vma/status.ts";
import type { CommandContext } from "../report/context.ts";
import { printJson } from "../report/json/json.ts";
import { statusDocument } from "../report/json/status.ts";
import { showLocalRuns } from "../report/overview/local-status.ts";
import { Screen } from "../report/overview/screen.ts";
import { factsText, type ShownJob, statusText } from "../report/status-text.ts";
import { sheetOf } from "../report/table.ts";
import { reportOnly } from "../report-only.ts";
import type { CutOver } from "../state/cut-over.ts";
import type { StoredConversion } from "../state/machine/conversions.ts";
import type { StoredRehearsal } from "../state/machine/rehearsals.ts";
import { State } from "../state/state.ts";
import type { VmIdentity } from "../state/vm-identity.ts";

const watchIntervalMs = 2000;
/** Of `--watch`, in a row: a service that restarts is waited for. */
const failuresMax = 5;

/** `migratekit status [JOB]`: a job as the VMA API knows it; without one, the runs of this machine. */
export async function run(context: CommandContext): Promise<number> {
  const { config, operands } = context;
  const jobId = operands[0] ?? config.jobId;
  if (jobId === undefined) await showLocalRuns(context);
  else if (config.watch) await watch(context, jobId);
  else show(context, await readJob(context, jobId));
  return exitCodes.success;
}

/** What the VMA API knows of the job, and what is known here of its VM. @throws as `fetchProgress` */
async function readJob({ config, logger, signal }: CommandContext, jobId: string) {
  const job = await fetchProgress(config.vmaUrl, jobId, { signal });
  return { ...job, ...knownOfJob(config, logger, jobId) };
}

/**
 * Rehearsal, conversion and cutover of the job's VM, from the state directory: the VM of the last run under the job; of a
 * job that no run here had, the VM at `--vmware-path`, where one alone is known there.
 */
function knownOfJob(
  config: CommandContext["config"],
  logger: Logger,
  jobId: string,
): Pick<ShownJob, "converted" | "cutOver" | "rehearsed"> {
  let converted: StoredConversion | undefined;
  let cutOver: CutOver | undefined;
  let rehearsed: StoredRehearsal | undefined;
  reportOnly(logger, "whether the VM was rehearsed, converted or cut over is not known", () => {
    using state = State.openExisting(config.stateDir);
    const vm = state?.findVmOfJob(jobId) ?? (state && namedVm(state, config));
    cutOver = vm && state?.readCutOver(vm);
    rehearsed = vm && state?.rehearsals.read(vm);
    converted = vm && state?.conversions.read(vm);
  });
  return {
    ...(converted?.phase === "converted" && { converted }),
    ...(cutOver && { cutOver }),
    ...(rehearsed && { rehearsed }),
  };
}

/** The VM at --vmware-path, where one alone is known there. */
function namedVm(state: State, config: CommandContext["config"]): VmIdentity | undefined {
  const vms = config.vmwarePath === undefined ? [] : namedVms(state, config);
  return vms.length === 1 ? vms[0] : undefined;
}

/**
 * Follows the job to its end. The first answer must come; after that the service may be away.
 * @throws MigratekitError `job-failed` for an end that is not `completed`, and as `fetchProgress`
 */
async function watch(context: CommandContext, jobId: string): Promise<void> {
  const { config, signal, logger } = context;
  const screen = new Screen(config.cursor);
  let failures = 0;
  let seen: ShownJob | undefined;
  for (;;) {
    try {
      seen = await readJob(context, jobId);
      failures = 0;
      show(context, seen, screen);
    } catch (error) {
      signal.throwIfAborted();
      if (seen === undefined || ++failures >= failuresMax) throw error;
      logger.warn(`${error instanceof Error ? error.message : error}; asking again`);
    }
    if (seen.status === "completed") return;
    if (seen.status !== "in_progress") {
      const why = seen.errorMessage ?? "the VMA API does not say why";
      throw new MigratekitError("job-failed", `${jobId} ended as ${seen.status}: ${why}`);
    }
    await sleep(watchIntervalMs, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}

/** In a pipe and on a dumb terminal, `--watch` writes a line when something changed. */
function show({ config }: CommandContext, job: ShownJob, watching?: Screen): void {
  if (config.json) printJson(statusDocument(job));
  else if (watching?.isLive) watching.show(statusText(job, sheetOf(config)));
  else if (watching) watching.show(`${factsText(job)}\n`);
  else process.stdout.write(statusText(job, sheetOf(config)));
}
