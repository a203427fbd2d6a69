/** A known VM's guest converted on overlays, its targets only read: what `convert` and `rehearse` begin with. */
import { resolve } from "node:path";
import {
  type Conversion,
  convertGuest,
  type GuestDisk,
  makeOverlays,
  makeWorkFolder,
  type Overlay,
  type WorkFolder,
} from "../../guest/guest.ts";
import type { GuestHardware } from "../../guest-hardware.ts";
import type { UndoStack } from "../../undo.ts";
import { convertedError } from "../apply/settle.ts";
import type { CycleContext } from "../vm/held-vm.ts";
import { deployedError } from "../vm/latch.ts";
import { type Run as RunOfVm, withRun } from "../vm/run.ts";
import { hardwareOf } from "./hardware.ts";
import { type KnownVm, withKnownVm } from "./known.ts";
import { checkKeyFiles, findLuksKeys } from "./luks-keys.ts";
import { findSyncedDisks, lookAtGiven, type SyncedDisk } from "./synced.ts";

export interface ConvertedOverlays {
  readonly conversion: Conversion;
  readonly hardware: GuestHardware;
  readonly disks: readonly SyncedDisk[];
  /** One for each disk, in the same order. */
  readonly overlays: readonly Overlay[];
  readonly work: WorkFolder;
}

export type ConvertingRun = KnownVm & Pick<RunOfVm, "runId" | "account">;

/**
 * Finds and holds the VM, and converts its guest.
 * @throws as `withHeldGuestConverted`; MigratekitError `usage`, `locked`
 */
export async function withConvertedGuest<T>(
  context: Omit<CycleContext, "shared">,
  work: (run: ConvertingRun, converted: ConvertedOverlays, undo: UndoStack) => Promise<T>,
  convert: typeof convertGuest = convertGuest,
): Promise<T> {
  return await withKnownVm(context, (held) => withHeldGuestConverted(held, work, convert));
}

/**
 * Refuses what must not be converted, and makes a run in which the guest is converted before `work`. The
 * overlays live until that ends.
 * @throws MigratekitError `converted`, `deployed`, `not-in-sync`, `target-…`, `guest-…`, `conversion-…`; whatever `work` throws
 */
export async function withHeldGuestConverted<T>(
  held: KnownVm,
  work: (run: ConvertingRun, converted: ConvertedOverlays, undo: UndoStack) => Promise<T>,
  convert: typeof convertGuest = convertGuest,
): Promise<T> {
  if (held.conversion !== undefined) throw convertedError(held.identity, held.conversion);
  const deployment = held.state.deployments.read(held.identity, "cutover");
  if (deployment !== undefined) throw deployedError(held.identity, deployment);
  const hardware = hardwareOf(held);
  await checkKeyFiles(held.config);
  await lookAtGiven(held);
  return await withRun(held, async (run, undo) =>
    work(run, await convertOnOverlays(run, hardware, convert, undo), undo),
  );
}

async function convertOnOverlays(
  run: ConvertingRun,
  hardware: GuestHardware,
  convert: typeof convertGuest,
  undo: UndoStack,
): Promise<ConvertedOverlays> {
  const { config, reporter, logger, signal } = run;
  const { disks, tls } = await findSyncedDisks(run, undo);
  const luksKeys = await findLuksKeys(disks, config.luksKey ?? [], signal);
  const work = undo.use("clear the work folder", await makeWorkFolder({ logger }));
  reporter.stage("StartExports", "making overlays");
  const overlays = await makeOverlays(disks.map(guestDisk), work, { logger, signal, tls });
  reporter.stage("Transfer", "converting the guest");
  const conversion = await convert(overlays, hardware, {
    work,
    logger,
    signal,
    timeoutMs: config.convertTimeout,
    overlayBytesMax: config.overlayMax,
    root: config.guestRoot,
    luksKeys,
    ...(config.virtioWin === undefined ? {} : { virtioWin: resolve(config.virtioWin) }),
  });
  return { conversion, hardware, disks, overlays, work };
}

function guestDisk({ diskId, capacityBytes, target }: SyncedDisk): GuestDisk {
  return { diskId, capacityBytes, uri: target.endpoint.uri };
}
