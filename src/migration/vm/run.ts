/** One run of a held VM: a row in the VM's history, with its stages and its ending. */
import type { Logger } from "pino";
import { buildInfo } from "../../build-info.ts";
import type { Config } from "../../config.ts";
import type { JournalEnding, VmOfRun } from "../../ending.ts";
import { MigratekitError, messageOf } from "../../errors.ts";
import { Interruption } from "../../interruption.ts";
import { redact } from "../../logger.ts";
import type { ProgressTracker, Stage } from "../../progress/progress.ts";
import { totalBytes } from "../../ranges.ts";
import { reportOnly } from "../../report-only.ts";
import { removeLiveProgress, writeLiveProgress } from "../../state/lock/live-progress.ts";
import type { RunResult, RunStart } from "../../state/run-record.ts";
import type { RunStore } from "../../state/runs.ts";
import { type UndoStack, withUndo } from "../../undo.ts";
import type { Account, RunAccount } from "../account/account.ts";
import { nextSteps } from "../account/next-step.ts";
import { keyOf } from "./disks.ts";
import type { HeldVm, Reporter } from "./held-vm.ts";
import type { Site } from "./site.ts";

export interface Run extends HeldVm {
  readonly runId: string;
  readonly account: RunAccount;
}

/** A VM that is held for a run, be it without a session at its vCenter. */
type Runnable = Omit<HeldVm, "site"> & { readonly site?: Site };

/**
 * One run in the history of a held VM. Whatever `work` put on the undo stack has been given back
 * when this ends, well or not; the run is `completed` only after that.
 * @throws whatever `work` throws (after a signal: its reason), else the first undo's failure;
 *   MigratekitError `state-unusable`
 */
export async function withRun<T, Held extends Runnable>(
  held: Held,
  work: (run: Held & Pick<Run, "runId" | "account">, undo: UndoStack) => Promise<T>,
): Promise<T> {
  const { config, lock, identity, reporter, signal } = held;
  const { runs } = held.state;
  const runId = runs.startRun(identity, runStart(config, lock.token));
  const logger = held.logger.child({ runId });
  const clock = new StageClock(reporter, runs, runId, logger);
  const account = reporter.account.begin(vmOfRun(held), runId);
  const run = { ...held, runId, account, logger, reporter: clock };
  using _live = tellProgress(run);
  const finish = (end: RunResult) => {
    const facts = account.end((diskId) => journalOf(held, diskId));
    const { status, errorCode: code } = end;
    if (status === "died") return; // others say that of us
    const next = nextSteps({ config, status, ...(code ? { code } : {}), run: facts });
    reportOnly(logger, "the end of the run is not in the history", () =>
      runs.finishRun(runId, end, { ...facts, next }),
    );
  };
  try {
    const result = await withUndo(logger, (undo) =>
      work(run, undo).catch((error: unknown) => {
        // A signal that came before is what it ended by; one that comes while all is given back is not.
        throw signal.aborted ? signal.reason : error;
      }),
    );
    finish({ status: "completed" });
    return result;
  } catch (error) {
    finish(endOf(error));
    throw error;
  }
}

/** What the history says of a run from its beginning. */
export function runStart({ command, jobId }: Config, lockToken: string): RunStart {
  const { version } = buildInfo;
  return { command, version, lockToken, ...(jobId === undefined ? {} : { progressJob: jobId }) };
}

const liveIntervalMs = 1000;

/** Tells other processes of this machine, from now to its disposal, how far the run is. */
function tellProgress({
  runId,
  reporter,
  config,
  identity,
  logger,
}: Runnable & { readonly runId: string }): Disposable {
  const { stateDir } = config;
  const { instanceUuid } = identity;
  const attempt = (what: () => void) => {
    try {
      what();
    } catch (error) {
      logger.debug(`others cannot see how far the run is: ${messageOf(error)}`);
    }
  };
  const tell = () =>
    attempt(() =>
      writeLiveProgress(stateDir, instanceUuid, { runId, ...reporter.tracker.snapshot() }),
    );
  tell();
  const timer = setInterval(tell, liveIntervalMs).unref();
  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      attempt(() => removeLiveProgress(stateDir, instanceUuid));
    },
  };
}

/** Where the journal of a disk stands when its run has ended. */
function journalOf(
  { state, identity, logger }: Runnable,
  diskId: string,
): JournalEnding | undefined {
  try {
    const journal = state.journals.openJournal(identity, keyOf(diskId));
    return journal && { mode: journal.mode, finished_bytes: totalBytes(journal.finished) };
  } catch (error) {
    logger.warn({ disk: diskId }, `its journal cannot be read: ${messageOf(error)}`);
    return undefined;
  }
}

/** Whose run it is, as documents have it. */
export function vmOfRun({ site, identity }: Pick<Runnable, "site" | "identity">): VmOfRun {
  const { vmPath, instanceUuid } = identity;
  return { path: vmPath, ...(site && { moref: site.vm.moref }), instance_uuid: instanceUuid };
}

/** Passes stages on and keeps how long each took in the run's history. */
class StageClock implements Reporter {
  readonly #reporter: Reporter;
  readonly #runs: RunStore;
  readonly #runId: string;
  readonly #logger: Logger;
  #stage: Stage = "Discover";
  #startedAt = new Date().toISOString();
  #startedMs = performance.now();

  constructor(reporter: Reporter, runs: RunStore, runId: string, logger: Logger) {
    this.#reporter = reporter;
    this.#runs = runs;
    this.#runId = runId;
    this.#logger = logger;
  }

  get account(): Account {
    return this.#reporter.account;
  }

  get tracker(): ProgressTracker {
    return this.#reporter.tracker;
  }

  stage(stage: Stage, detail?: string): void {
    if (stage !== this.#stage) this.#begin(stage);
    this.#reporter.stage(stage, detail);
  }

  /** Records the stage that ends. */
  #begin(next: Stage): void {
    const durationMs = performance.now() - this.#startedMs;
    reportOnly(this.#logger, `the stage ${this.#stage} is not in the history`, () =>
      this.#runs.recordStage(this.#runId, this.#stage, this.#startedAt, durationMs),
    );
    this.#stage = next;
    this.#startedAt = new Date().toISOString();
    this.#startedMs = performance.now();
  }
}

/** How the history names an ending by `error`. */
export function endOf(error: unknown): RunResult {
  // A peer may have put into it what it was sent.
  const message = redact(messageOf(error));
  if (error instanceof Interruption) return { status: "interrupted", message };
  const errorCode = error instanceof MigratekitError ? error.code : "bug";
  return { status: "failed", errorCode, message };
}
