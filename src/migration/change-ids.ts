import type { Logger } from "pino";
import type { Config } from "../config.ts";
import { messageOf } from "../errors.ts";
import { type ChangeIdStore, LocalChangeIdStore } from "../state/change-ids.ts";
import type { StateDatabase } from "../state/database.ts";
import type { DiskRecords } from "../state/disk-records.ts";
import { OmaChangeIdStore } from "../state/oma-change-ids.ts";
import type { VmIdentity } from "../state/vm-identity.ts";

/** The OMA API has the say when the appliance manages the job, else the state directory. */
export function openChangeIdStore(
  config: Config,
  state: StateDatabase,
  records: DiskRecords,
  logger: Logger,
): ChangeIdStore {
  if (config.changeIdJob === undefined) return new LocalChangeIdStore(records);
  return new OmaChangeIdStore(state, {
    baseUrl: config.cloudstackApiUrl,
    jobId: config.changeIdJob,
    logger,
  });
}

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
