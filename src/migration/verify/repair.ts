/** `--repair`: copies what differs, reads it again, and takes the samples there anew. */
import { MigratekitError } from "../../errors.ts";
import type { Engine } from "../../nbd/copy-engine/copy-engine.ts";
import type { TargetSample } from "../../state/disk-records.ts";
import type { State } from "../../state/state.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import type { TargetWriter } from "../cycle/late-writes.ts";
import { isTouched, takeSamples } from "../cycle/samples.ts";
import { type FrozenDisk, type ServedSource, sidesOf } from "../disk.ts";
import type { Reporter } from "../vm/held-vm.ts";

/** What is compared and repaired, and whose samples are taken anew. */
export interface Repairing {
  readonly engine: Engine;
  readonly identity: VmIdentity;
  readonly state: Pick<State, "records" | "lateWrites">;
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
}

/**
 * The source did not change in these ranges [offset, length] since the change ID that the record holds,
 * so what is written is right for the record too, and a death in between does no harm.
 * @throws MigratekitError `verification-mismatch` where the target does not keep it; NbdError
 */
export async function repairRanges(
  context: Repairing,
  disk: FrozenDisk & { readonly source: ServedSource },
  writer: TargetWriter,
  differences: Float64Array,
): Promise<void> {
  const { engine, reporter, signal } = context;
  const ranges = { ...sidesOf(disk), signal, extents: differences };
  reporter.tracker.setDiskNote(disk.diskId, "repairing");
  await engine.copy({
    ...ranges,
    onFigures: disk.tally.copied,
    onRetry: (retry) => writer.onRetry(retry),
  });
  const again = await engine.compare(ranges);
  if (again.differences.length > 0) {
    throw new MigratekitError(
      "verification-mismatch",
      `${disk.diskId}: ${again.differingBytes} bytes differ again right after their repair, the first at offset ${again.differences[0]}`,
      { remedy: "Look into the target's storage: it does not keep what is written to it." },
    );
  }
  await refreshSamples(context, disk, differences);
  reporter.tracker.setDiskNote(disk.diskId, undefined);
}

/** A sample may have been taken of the wrong bytes; left alone it would make the next run a full one. */
async function refreshSamples(
  { identity, state, signal }: Repairing,
  { frozen: { key }, target }: FrozenDisk,
  repaired: Float64Array,
): Promise<void> {
  const retake = async (sample: TargetSample) => {
    const range = Float64Array.of(sample.offset, sample.length);
    const [taken] = await takeSamples(target.endpoint, range, signal);
    return taken ?? sample;
  };
  const record = state.records.readDiskRecord(identity, key);
  if (record?.samples.some((sample) => isTouched(sample, repaired))) {
    const samples = [];
    for (const sample of record.samples) {
      samples.push(isTouched(sample, repaired) ? await retake(sample) : sample);
    }
    state.records.replaceSamples(identity, key, samples);
  }
}
