import type { Logger } from "pino";
import { isChangeId } from "../../change-id.ts";
import type { Config } from "../../config.ts";
import { MigratekitError, messageOf } from "../../errors.ts";
import { OmaApi } from "../../oma/oma.ts";
import { type ChangeIdStore, LocalChangeIdStore } from "../../state/change-ids.ts";
import type { StateDatabase } from "../../state/database/database.ts";
import type { DiskRecords } from "../../state/disk-records.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import type { HeldVm } from "../vm/run.ts";
import { OmaChangeIdStore } from "./oma-change-ids.ts";

/** The OMA API has the say when the appliance manages the job, else the state directory. */
export function openChangeIdStore(
  config: Config,
  state: StateDatabase,
  records: DiskRecords,
  logger: Logger,
): ChangeIdStore {
  if (config.changeIdJob === undefined) return new LocalChangeIdStore(records);
  const api = new OmaApi({ baseUrl: config.cloudstackApiUrl });
  return new OmaChangeIdStore(state, api, config.changeIdJob, logger);
}

/**
 * The one-time import of change IDs that another program kept. It may stay in a configuration: where
 * this state directory knows a disk already, it knows more, and nothing is imported. An imported ID
 * is used only onto a target that proves to hold that state (guard.ts).
 * @throws MigratekitError `usage` where they could not be used at all
 */
export function importChangeIds(
  { config, records, identity, logger }: ImportContext,
  deviceKeys: readonly number[],
): void {
  const { importChangeIds: wanted, changeIdJob } = config;
  if (wanted === undefined) return;
  if (changeIdJob !== undefined) {
    throw new MigratekitError(
      "usage",
      "--import-change-ids and MIGRATEKIT_JOB_ID were both given",
      {
        remedy: "With MIGRATEKIT_JOB_ID the OMA API keeps the change IDs: leave the import out.",
      },
    );
  }
  for (const [key, changeId] of wanted) {
    if (!deviceKeys.includes(key)) {
      throw new MigratekitError(
        "usage",
        `--import-change-ids names ${key}, which is not migrated`,
        {
          remedy: `The disks of this run are ${deviceKeys.join(", ")}.`,
        },
      );
    }
    if (!isChangeId(changeId)) {
      throw new MigratekitError("usage", `--import-change-ids: "${changeId}" is not a change ID`, {
        remedy: "It is 16 bytes in hexadecimal, a slash and a number: 52 de c0 … 6e-a2 … 08/7.",
      });
    }
  }
  for (const [key, changeId] of wanted) {
    const imported = records.importChangeId(identity, key, changeId);
    logger.info(
      { disk: `disk-${key}`, changeId },
      imported
        ? `disk-${key}: the change ID given with --import-change-ids was taken over`
        : `disk-${key}: --import-change-ids is not used: an earlier run of migratekit knows more`,
    );
  }
}

type ImportContext = Pick<HeldVm, "config" | "records" | "identity" | "logger">;

/**
 * Reads the change ID of every disk, before anything else is done to the VM (field notes, 10). A
 * store that cannot be read ends the run here, unless a full copy was asked for.
 */
export async function readChangeIds(
  store: ChangeIdStore,
  vm: VmIdentity,
  deviceKeys: readonly number[],
  options: { readonly full: boolean; readonly logger: Logger; readonly signal: AbortSignal },
): Promise<Map<number, string>> {
  const found = new Map<number, string>();
  for (const key of deviceKeys) {
    try {
      const changeId = await store.read(vm, key, options.signal);
      if (changeId !== undefined) found.set(key, changeId);
    } catch (error) {
      if (!options.full || options.signal.aborted) throw error;
      options.logger.warn(`${messageOf(error)}; --full does without`);
    }
  }
  return found;
}

/**
 * Hands the new change IDs to their store. All are tried; the first failure is thrown in the end.
 */
export async function persistChangeIds(
  store: ChangeIdStore,
  vm: VmIdentity,
  disks: readonly { deviceKey: number; changeId: string; previous: string | undefined }[],
  signal: AbortSignal,
): Promise<void> {
  const outcomes = await Promise.allSettled(
    disks.map((disk) => store.write(vm, disk.deviceKey, disk.changeId, disk.previous, signal)),
  );
  const failed = outcomes.find((outcome) => outcome.status === "rejected");
  if (failed) throw failed.reason;
}
