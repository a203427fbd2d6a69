/** The old bytes of a conversion brought back, where nothing else has written since. */
import { MigratekitError } from "../../errors.ts";
import { makeWorkFolder } from "../../guest/guest.ts";
import { intersect } from "../../ranges.ts";
import type { UndoStack } from "../../undo.ts";
import { rangesOf } from "../apply/kept-list.ts";
import { type ReachedDisk, type Restored, restoreTargets } from "../apply/restore.ts";
import { findOthers } from "../apply/write.ts";
import { findChangedSample } from "../cycle/samples.ts";
import { openEngine } from "../engine.ts";
import type { KnownVm } from "../known/known.ts";

/** @throws MigratekitError `target-…`, `old-bytes-lost`, `locked`; the signal's reason */
export async function rollBackConversion(run: KnownVm, undo: UndoStack): Promise<Restored> {
  const { config, reporter, identity, state } = run;
  const work = undo.use("clear the work folder", await makeWorkFolder(run));
  const engine = undo.use("stop the copy engine", openEngine(config));
  reporter.stage("Transfer", "bringing the old bytes back");
  return await restoreTargets({ ...run, work, engine }, async (disks) => {
    await refuseForeignWrites(run, disks);
    // Of a cutover that converted; syncs go on from here.
    state.clearCutOver(identity);
  });
}

/** A guest that was started on the targets has written elsewhere too: the old bytes alone would not undo that. */
export async function refuseForeignWrites(
  { identity, state, signal }: Pick<KnownVm, "identity" | "state" | "signal">,
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
