/** `migratekit rollback`: the old bytes of a conversion brought back, where nothing else has written since. */
import { MigratekitError } from "../../errors.ts";
import { makeWorkFolder } from "../../guest/guest.ts";
import { intersect } from "../../ranges.ts";
import { rangesOf } from "../apply/kept-list.ts";
import { type ReachedDisk, type Restored, restoreTargets } from "../apply/restore.ts";
import { findOthers } from "../apply/write.ts";
import { findChangedSample } from "../cycle/samples.ts";
import { openEngine } from "../engine.ts";
import { type KnownVm, withKnownVm } from "../known/known.ts";
import type { CycleContext } from "../vm/held-vm.ts";
import { withRun } from "../vm/run.ts";

export interface RollbackSummary {
  readonly vm: { readonly path: string; readonly instance_uuid: string };
  readonly run_id: string;
  readonly disks: readonly { readonly disk_id: string; readonly restored_bytes: number }[];
}

/**
 * @throws MigratekitError `not-converted`, `target-mismatch`, `old-bytes-lost`, `locked`, `target-…`; the
 *   signal's reason
 */
export async function runRollback(context: Omit<CycleContext, "shared">): Promise<RollbackSummary> {
  return await withKnownVm(context, async (held) => {
    if (held.conversion === undefined) {
      throw new MigratekitError(
        "not-converted",
        `the targets of ${held.identity.vmPath} hold no conversion that could be taken back`,
      );
    }
    return await withRun(held, async (run, undo) => {
      const { config, reporter } = run;
      const work = undo.use("clear the work folder", await makeWorkFolder(run));
      const engine = undo.use("stop the copy engine", openEngine(config));
      reporter.stage("Transfer", "bringing the old bytes back");
      const restored = await restoreTargets({ ...run, work, engine }, async (disks) => {
        await refuseForeignWrites(run, disks);
        // Of a cutover that converted; syncs go on from here.
        run.state.clearCutOver(run.identity);
      });
      return summaryOf(run, restored);
    });
  });
}

/** A guest that was started on the targets has written elsewhere too: the old bytes alone would not undo that. */
async function refuseForeignWrites(
  { identity, state, signal }: KnownVm,
  disks: readonly ReachedDisk[],
): Promise<void> {
  for (const { kept, target } of disks) {
    const [piece] = await findOthers(target, kept.pieces, "new", signal);
    const changed = rangesOf(kept.pieces);
    const samples = state.records.readDiskRecord(identity, kept.deviceKey)?.samples ?? [];
    const untouched = samples.filter(
      ({ offset, length }) => intersect(Float64Array.of(offset, length), changed).length === 0,
    );
    const other = piece ?? (await findChangedSample(target.endpoint, untouched, signal));
    if (other === undefined) continue;
    throw new MigratekitError(
      "target-mismatch",
      `${kept.diskId}: ${target.identity} is not what the conversion left: it differs at offset ${other.offset}`,
      {
        remedy:
          "Something else has written to the volume, such as a guest started on it; copy everything again with 'migratekit migrate --full'.",
      },
    );
  }
}

function summaryOf(
  { identity, runId }: KnownVm & { readonly runId: string },
  { disks }: Restored,
): RollbackSummary {
  return {
    vm: { path: identity.vmPath, instance_uuid: identity.instanceUuid },
    run_id: runId,
    disks: disks.map(({ diskId, restoredBytes }) => ({
      disk_id: diskId,
      restored_bytes: restoredBytes,
    })),
  };
}
