import type { Logger } from "pino";
import type { Config } from "../../config.ts";
import { MigratekitError, messageOf } from "../../errors.ts";
import { redact } from "../../logger.ts";
import type { Engine } from "../../nbd/copy-engine/copy-engine.ts";
import type { ProgressTracker, Stage } from "../../progress/progress.ts";
import type { StateDatabase } from "../../state/database/database.ts";
import type { DiskRecords } from "../../state/disk-records.ts";
import type { JournalStore } from "../../state/journal.ts";
import type { VmLock } from "../../state/lock/lock.ts";
import type { RunResult } from "../../state/run-record.ts";
import type { RunStore } from "../../state/runs.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import type { HostConnections } from "./host-connections.ts";
import type { Site } from "./site.ts";

/** What a run tells about itself while it goes on. Nothing here may throw or wait. */
export interface Reporter {
  /** Enters a stage, or changes the detail of the present one. */
  stage(stage: Stage, detail?: string): void;
  readonly tracker: ProgressTracker;
}

/** What the runs of several VMs in one process share. */
export interface SharedResources {
  /** One pool of memory and one rate limit for all of them. */
  readonly engine: Engine;
  readonly hosts: HostConnections;
  /** Identity of every target that a VM of this process writes to -> the VM's path. */
  readonly targets: Map<string, string>;
}

export interface CycleContext {
  readonly config: Config;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly reporter: Reporter;
  /** Set where other VMs are migrated by this process at the same time. */
  readonly shared?: SharedResources;
}

/** What a command holds once it has found and locked its VM, for one run or several. */
export interface HeldVm extends CycleContext {
  readonly site: Site;
  readonly identity: VmIdentity;
  readonly state: StateDatabase;
  readonly records: DiskRecords;
  readonly journals: JournalStore;
  readonly runs: RunStore;
  readonly lock: VmLock;
}

/** One run under way: a row in the VM's history. */
export interface Run extends HeldVm {
  readonly runId: string;
}

/** Passes stages on and keeps how long each took in the run's history. */
export class StageClock implements Reporter {
  readonly #reporter: Reporter;
  readonly #runs: RunStore;
  readonly #runId: string;
  #stage: Stage = "Discover";
  #startedAt = new Date().toISOString();
  #startedMs = performance.now();

  constructor(reporter: Reporter, runs: RunStore, runId: string) {
    this.#reporter = reporter;
    this.#runs = runs;
    this.#runId = runId;
  }

  get tracker(): ProgressTracker {
    return this.#reporter.tracker;
  }

  stage(stage: Stage, detail?: string): void {
    if (stage !== this.#stage) this.close(stage);
    this.#reporter.stage(stage, detail);
  }

  /** Records the stage that ends. */
  close(next: Stage): void {
    const durationMs = performance.now() - this.#startedMs;
    this.#runs.recordStage(this.#runId, this.#stage, this.#startedAt, durationMs);
    this.#stage = next;
    this.#startedAt = new Date().toISOString();
    this.#startedMs = performance.now();
  }
}

/** How the history names this ending. */
export function endOf(error: unknown, signal: AbortSignal): RunResult {
  return {
    status: signal.aborted ? "interrupted" : "failed",
    errorCode: error instanceof MigratekitError ? error.code : "bug",
    // A peer may have put into it what it was sent.
    message: redact(messageOf(error)),
  };
}
