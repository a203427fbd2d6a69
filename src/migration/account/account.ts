/**
 * What is known of a command's runs, filled in as things happen, so that every ending can be told in
 * full. Keeping it never throws and never waits.
 */
import type { Config } from "../../config.ts";
import type {
  DiskEnding,
  Ending,
  Figures,
  JournalEnding,
  RunEnding,
  SnapshotEnding,
  VmOfRun,
} from "../../ending.ts";
import { sumFigures } from "../../ending.ts";
import { exitCodes } from "../../errors.ts";
import { codeOf, exitCodeOf, Interruption } from "../../interruption.ts";
import { nextSteps } from "./next-step.ts";

/** The runs of one command, in their order; a cutover has several. */
export class Account {
  readonly runs: RunAccount[] = [];

  begin(vm: VmOfRun, runId: string): RunAccount {
    const run = new RunAccount(vm, runId);
    this.runs.push(run);
    return run;
  }

  /** The last run, with which the command ended; undefined where none was begun. */
  get last(): RunAccount | undefined {
    return this.runs.at(-1);
  }
}

/** Begin and end on the monotonic clock. */
interface Span {
  readonly fromMs: number | undefined;
  readonly toMs: number;
}

export class RunAccount {
  readonly #vm: VmOfRun;
  readonly #runId: string;
  readonly #startedAt = new Date().toISOString();
  readonly #startedMs = performance.now();
  #durationMs: number | undefined;
  readonly #disks = new Map<string, DiskEnding>();
  readonly #copies: Span[] = [];
  #snapshot: SnapshotEnding | undefined;
  #quiesced: boolean | undefined;

  constructor(vm: VmOfRun, runId: string) {
    this.#vm = vm;
    this.#runId = runId;
  }

  /** What is known of a disk now; replaces what was known before. */
  disk(disk: DiskEnding): void {
    this.#disks.set(disk.disk_id, disk);
  }

  /** A disk was read for the copy (or the comparison) in this time. */
  copied(span: Span): void {
    if (span.fromMs !== undefined) this.#copies.push({ ...span });
  }

  /** Undefined: none was made after all. */
  snapshot(snapshot: SnapshotEnding | undefined, quiesced?: boolean): void {
    this.#snapshot = snapshot;
    if (quiesced !== undefined) this.#quiesced = quiesced;
  }

  /** It is not there any more; `found`: it was there before. */
  snapshotGone(found: boolean): void {
    const made = this.#snapshot !== undefined && (found || this.#snapshot.moref !== undefined);
    this.#snapshot = made ? { ...this.#snapshot!, state: "removed" } : undefined;
  }

  /** The run is over. `journalOf`: where that of a disk stands, by its ID. */
  end(journalOf: (diskId: string) => JournalEnding | undefined): RunEnding {
    this.#durationMs ??= performance.now() - this.#startedMs;
    for (const [diskId, disk] of this.#disks) {
      const journal = journalOf(diskId);
      if (journal) this.#disks.set(diskId, { ...disk, journal });
    }
    return this.facts();
  }

  facts(): RunEnding {
    const disks = [...this.#disks.values()];
    const full = disks.some((disk) => disk.sync_type === "full");
    return {
      vm: this.#vm,
      run_id: this.#runId,
      ...(disks.length === 0 ? {} : { sync_type: full ? "full" : "incremental" }),
      ...(this.#quiesced === undefined ? {} : { quiesced: this.#quiesced }),
      started_at: this.#startedAt,
      duration_ms: Math.round(this.#durationMs ?? performance.now() - this.#startedMs),
      disks,
      total: this.#total(disks),
      ...(this.#snapshot ? { snapshot: this.#snapshot } : {}),
    };
  }

  #total(disks: readonly DiskEnding[]): Figures {
    const from = Math.min(...this.#copies.map(({ fromMs }) => fromMs!));
    const to = Math.max(...this.#copies.map(({ toMs }) => toMs));
    return sumFigures(disks, this.#copies.length === 0 ? 0 : to - from);
  }
}

/** How a command ended, by what is known of its last run; `error`: what it threw. */
export function endingOf(
  config: Pick<Config, "command" | "typed">,
  account: Account,
  outcome: { readonly error?: unknown },
): Ending {
  const run = account.last?.facts();
  const failed = "error" in outcome;
  const { error } = outcome;
  const status = !failed ? "completed" : error instanceof Interruption ? "interrupted" : "failed";
  const code = failed ? codeOf(error) : undefined;
  return {
    command: config.command,
    status,
    exit_code: failed ? exitCodeOf(error) : exitCodes.success,
    ...run,
    next: nextSteps({ config, status, ...(code ? { code } : {}), ...(run ? { run } : {}) }),
  };
}
