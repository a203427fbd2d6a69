/** What a worker knows of itself, also where the database is away: for those who watch it. */
import type { FleetAction, RunOutcome } from "../fleet.ts";
import type { RunProgress } from "../status.ts";

/** `lost`: its lease ended before it did. */
export type LeasedStatus = RunOutcome["status"] | "lost";

/** Runs by how they ended. */
export type WorkDone = Record<LeasedStatus, number>;

/** Times of the worker's own monotonic clock, ms. */
export interface WorkerFacts {
  /** As the fleet knows it. */
  readonly name: string;
  /** Runs that it does at a time. */
  readonly parallel: number;
  /** It takes no VM any more and ends when its runs have. */
  readonly draining: boolean;
  /** Since the database last answered; undefined: it never did. */
  readonly sinceDatabaseMs: number | undefined;
  readonly runs: readonly {
    readonly action: FleetAction;
    /** Of the lease; 0 and less: nothing is written any more. */
    readonly leaseLeftMs: number;
    readonly bytesPerSecond: number;
  }[];
  /** Runs that ended since it began, by how. */
  readonly ended: Readonly<WorkDone>;
  /** Bytes that they copied, those of the runs at work included. */
  readonly copiedBytes: number;
}

interface WatchedRun {
  readonly action: FleetAction;
  leaseLeftMs(): number;
  /** Undefined before it has begun. */
  progress(): RunProgress | undefined;
}

export class WorkerWatch {
  draining = false;
  readonly ended: WorkDone = { completed: 0, failed: 0, interrupted: 0, lost: 0 };
  readonly #worker: { readonly name: string; readonly parallel: number };
  readonly #runs = new Set<WatchedRun>();
  #copiedBytes = 0;
  #heardMs: number | undefined;

  constructor(worker: { readonly name: string; readonly parallel: number }) {
    this.#worker = worker;
  }

  /** The database has answered just now. */
  heard(): void {
    this.#heardMs = performance.now();
  }

  /** A run that is at work until what this gives is disposed of. */
  begin(run: WatchedRun): Disposable {
    this.#runs.add(run);
    return {
      [Symbol.dispose]: () => {
        if (this.#runs.delete(run)) this.#copiedBytes += run.progress()?.doneBytes ?? 0;
      },
    };
  }

  facts(): WorkerFacts {
    const runs = [...this.#runs].map((run) => ({ ...run.progress(), run }));
    return {
      ...{ name: this.#worker.name, parallel: this.#worker.parallel, draining: this.draining },
      sinceDatabaseMs: this.#heardMs === undefined ? undefined : performance.now() - this.#heardMs,
      runs: runs.map(({ run, bytesPerSecond = 0 }) => ({
        ...{ action: run.action, leaseLeftMs: run.leaseLeftMs(), bytesPerSecond },
      })),
      ended: { ...this.ended },
      copiedBytes: runs.reduce((sum, { doneBytes = 0 }) => sum + doneBytes, this.#copiedBytes),
    };
  }
}
