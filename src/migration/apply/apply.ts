/**
 * From the overlays to the targets: all disks or none. What is there before is kept first, complete, proved
 * and durable; then the state says what is going to be done; only then a target is written. Whoever comes
 * next on this VM and finds that unended brings the old bytes back (restore.ts).
 */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { messageOf } from "../../errors.ts";
import type { TargetTlsOptions } from "../../nbd/target/tls.ts";
import type { ApplyContext } from "./context.ts";
import { type DiskToConvert, keepOldBytes } from "./keep.ts";
import { type KeptDisk, removeFolder, writeKeptList } from "./kept-list.ts";
import { restoreTargets } from "./restore.ts";
import { serveFile } from "./serve.ts";
import { writePieces } from "./write.ts";

export interface ApplyOptions {
  readonly runId: string;
  /** --keep-old: a folder of this conversion is made in it. */
  readonly keepOld: string;
  readonly bytesMax: number;
  /** How the targets' URIs are to be reached later. */
  readonly tls: TargetTlsOptions;
  /** Kept in state, for people: the conversion as its JSON has it. */
  readonly result: unknown;
  /** Told before the first byte goes to a target. */
  onApplying?(): void;
}

export interface AppliedDisk {
  readonly diskId: string;
  readonly changedBytes: number;
}

export interface Applied {
  /** Where the old bytes are. */
  readonly folder: string;
  readonly disks: readonly AppliedDisk[];
}

/**
 * @throws MigratekitError of `keepOldBytes`, and then no target was touched; `target-io`, `target-forgets`,
 *   `target-owned`, and then the old bytes are back, or the state says that they are to be brought back;
 *   the signal's reason
 */
export async function applyOverlays(
  context: ApplyContext,
  disks: readonly DiskToConvert[],
  options: ApplyOptions,
): Promise<Applied> {
  const { identity, state, logger, lease } = context;
  const { runId, result, bytesMax, tls } = options;
  const folder = join(options.keepOld, `migratekit-old-${randomUUID()}`);
  const keys = disks.map(({ deviceKey }) => deviceKey);
  state.conversions.begin(identity, { runId, folder, result, disks: keys });
  let kept: KeptDisk[];
  try {
    kept = await keepOldBytes(context, { folder, bytesMax }, disks);
    const { vmPath, instanceUuid } = identity;
    const list = { format: 1, runId, vmPath, instanceUuid, disks: kept, tls } as const;
    const digest = writeKeptList(folder, list);
    for (const disk of disks) {
      state.targets.claim(identity, { deviceKey: disk.deviceKey, names: disk.names }, runId);
    }
    options.onApplying?.();
    state.conversions.enter(identity, "applying", digest);
  } catch (error) {
    removeFolder(folder);
    state.conversions.forget(identity);
    throw error;
  }
  try {
    await lease?.barrier("writing the conversion to the targets");
    for (const [index, disk] of disks.entries()) {
      await using overlay = await serveFile(
        context.work,
        { path: disk.overlay, as: "overlay", writable: false },
        context.signal,
      );
      await writePieces(context, disk, overlay.endpoint, kept[index]!.pieces, "new");
    }
    state.conversions.enter(identity, "converted");
    await lease?.barrier("the end of the conversion");
  } catch (error) {
    logger.error(`the conversion did not reach all targets: ${messageOf(error)}`);
    if (!context.signal.aborted) await tryToRestore(context);
    throw error;
  }
  return { folder, disks: kept.map(appliedDisk) };
}

function appliedDisk({ diskId, pieces }: KeptDisk): AppliedDisk {
  return { diskId, changedBytes: pieces.reduce((sum, { length }) => sum + length, 0) };
}

/** Where it cannot be done now, the next command on the VM does it. */
async function tryToRestore(context: ApplyContext): Promise<void> {
  try {
    await restoreTargets(context);
  } catch (error) {
    context.logger.error(
      `the old bytes could not be brought back now (${messageOf(error)}); the next command on this VM does it`,
    );
  }
}
