/** `migratekit convert`: overlays, conversion, verdict; and only then onto the targets. */
import { join, resolve } from "node:path";
import { MigratekitError } from "../../errors.ts";
import type { Conversion, convertGuest } from "../../guest/guest.ts";
import type { UndoStack } from "../../undo.ts";
import { type Applied, applyOverlays } from "../apply/apply.ts";
import { openEngine } from "../engine.ts";
import { conversionDocument } from "../known/document.ts";
import { type KnownVm, withKnownVm } from "../known/known.ts";
import {
  type ConvertedOverlays,
  type ConvertingRun,
  withHeldGuestConverted,
} from "../known/on-overlays.ts";
import type { SyncedDisk } from "../known/synced.ts";
import { tlsOptionsOf } from "../target-tls.ts";
import type { CycleContext } from "../vm/held-vm.ts";

export interface ConversionSummary {
  readonly vm: { readonly path: string; readonly instance_uuid: string };
  readonly run_id: string;
  readonly conversion: ReturnType<typeof conversionDocument>;
  /** Absent where nothing was written to a target. */
  readonly applied?: {
    readonly old_bytes: string;
    readonly disks: readonly {
      readonly disk_id: string;
      readonly target: string;
      readonly changed_bytes: number;
    }[];
  };
}

export interface ConvertOptions {
  /** Told the conversion before anything is made an error of it. */
  onVerdict(summary: ConversionSummary): void;
  /** Asked before the first target is touched; what it throws ends the conversion. */
  readonly beforeApplying?: () => Promise<void>;
  /** Changes the overlays, and judges what they hold then. */
  readonly convert?: typeof convertGuest;
}

/**
 * @throws MigratekitError `guest-…`, `conversion-…`, `converted`, `not-in-sync`, `target-…`, `old-bytes-…`,
 *   `locked`; the signal's reason
 */
export async function runConversion(
  context: Omit<CycleContext, "shared">,
  options: ConvertOptions,
): Promise<ConversionSummary> {
  return await withKnownVm(context, (held) => convertHeld(held, options));
}

/** The same for a VM that is held already. @throws as `runConversion`; whatever `beforeApplying` throws */
export async function convertHeld(
  held: KnownVm,
  { onVerdict, beforeApplying, convert }: ConvertOptions,
): Promise<ConversionSummary> {
  const apply = async (run: ConvertingRun, converted: ConvertedOverlays, undo: UndoStack) => {
    const { config, identity, reporter, runId } = run;
    const { conversion, disks, overlays, work } = converted;
    const summary = {
      vm: { path: identity.vmPath, instance_uuid: identity.instanceUuid },
      run_id: runId,
      conversion: conversionDocument(conversion),
    };
    onVerdict(summary);
    refuse(conversion, config.acceptLook);
    await beforeApplying?.();
    reporter.stage("Finalize", "writing to the targets");
    const engine = undo.use("stop the copy engine", openEngine(config, run.logger, run.lease));
    const toConvert = disks.map((disk, index) => ({
      ...written(disk),
      overlay: overlays[index]!.path,
    }));
    const applied = await applyOverlays({ ...run, engine, work }, toConvert, {
      runId,
      keepOld: resolve(config.keepOld ?? join(config.stateDir, "old-bytes")),
      bytesMax: config.keepOldMax,
      tls: tlsOptionsOf(run),
      result: summary.conversion,
    });
    return { ...summary, applied: appliedDocument(applied, disks) };
  };
  return await withHeldGuestConverted(held, apply, convert);
}

function written({ deviceKey, diskId, target }: SyncedDisk) {
  return {
    deviceKey,
    diskId,
    endpoint: target.endpoint,
    identity: target.identity,
    names: target.names.lasting,
    sizeBytes: target.info.sizeBytes,
  };
}

/** @throws MigratekitError `guest-will-not-boot` */
function refuse({ verdict, findings }: Conversion, acceptLook: boolean): void {
  if (verdict === "boots" || (verdict === "look" && acceptLook)) return;
  const reasons = findings.filter(({ level }) => level === verdict).map(({ text }) => text);
  throw new MigratekitError(
    "guest-will-not-boot",
    verdict === "look"
      ? `it cannot be told whether the converted guest boots: ${reasons.join("; ")}`
      : `the converted guest would not boot: ${reasons.join("; ")}`,
    verdict === "look"
      ? {
          remedy:
            "Look at the findings, or start it with 'migratekit rehearse --boot'; --accept-look applies the conversion all the same.",
        }
      : {},
  );
}

function appliedDocument({ folder, disks }: Applied, synced: readonly SyncedDisk[]) {
  return {
    old_bytes: folder,
    disks: disks.map(({ diskId, changedBytes }, index) => ({
      disk_id: diskId,
      target: synced[index]!.target.identity,
      changed_bytes: changedBytes,
    })),
  };
}
