/** The resume journal of a copy under way: begun before the first byte, continued at each flush. */
import type { Logger } from "pino";
import { messageOf } from "../../errors.ts";
import { normalize } from "../../ranges.ts";
import type { State } from "../../state/state.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import type { PlannedDisk } from "../disk.ts";

/** Whose journal it is, and where it is kept. */
export interface JournalContext {
  readonly identity: VmIdentity;
  readonly state: Pick<State, "records" | "journals" | "targets">;
  readonly runId: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * From here on the target is this disk's, and the record of its content is void until the copy ends. A disk without change
 * tracking has no journal: nothing would tell what became of its finished ranges.
 * @throws MigratekitError `target-owned`, `state-unusable`
 */
export function beginJournal(context: JournalContext, disk: PlannedDisk): Checkpoints | undefined {
  const { identity, state, runId } = context;
  const { frozen, target, plan } = disk;
  const { changeId, capacityBytes, key } = frozen;
  state.targets.claim(identity, { deviceKey: key, names: target.names.lasting }, runId);
  if (changeId === undefined) {
    state.records.forgetDisk(identity, key);
    return undefined;
  }
  const { decision, syncType, finished } = plan;
  const since = decision.type === "full" ? undefined : decision.since;
  state.journals.startJournal(
    identity,
    key,
    {
      mode: syncType,
      baseChangeId: changeId,
      ...(since === undefined ? {} : { fromChangeId: since }),
      capacityBytes,
      targetUri: target.identity,
      targetSizeBytes: target.info.sizeBytes,
      startedAt: new Date().toISOString(),
      runId,
    },
    finished,
  );
  return new Checkpoints(context, disk);
}

/**
 * Journals ranges at each flush. A journal that cannot be written (disk full) does not stop the
 * copy: the ranges wait for the next checkpoint, and a death in between costs copying, not data.
 */
export class Checkpoints {
  readonly #context: JournalContext;
  readonly #disk: PlannedDisk;
  #pending: number[] = [];
  #warned = false;

  constructor(context: JournalContext, disk: PlannedDisk) {
    this.#context = context;
    this.#disk = disk;
  }

  /** Chunks as the engine reports them: triples [offset, length, kind], in bytes. */
  observe(chunks: Float64Array): void {
    for (let i = 0; i + 2 < chunks.length; i += 3) this.#pending.push(chunks[i]!, chunks[i + 1]!);
  }

  /** All that was observed is flushed on the target now. */
  commit(): void {
    const ranges = normalize(Float64Array.from(this.#pending));
    if (ranges.length === 0) return;
    const { state, identity, logger } = this.#context;
    try {
      state.journals.appendFinished(identity, this.#disk.frozen.key, ranges);
      this.#pending = [];
    } catch (error) {
      this.#pending = [...ranges];
      if (!this.#warned) {
        logger.warn(
          { disk: this.#disk.diskId },
          `the resume journal cannot be written: ${messageOf(error)}; the copy goes on`,
        );
      }
      this.#warned = true;
    }
  }
}
