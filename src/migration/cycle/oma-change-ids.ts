/** Change IDs kept at the OMA API, with what the state directory knows better than the API. */
import type { Logger } from "pino";
import { splitChangeId } from "../../change-id.ts";
import { messageOf } from "../../errors.ts";
import type { OmaApi } from "../../oma/oma.ts";
import type { ChangeIdStore } from "../../state/change-ids.ts";
import type { StateDatabase } from "../../state/database/database.ts";
import { DiskRecords } from "../../state/disk-records.ts";
import {
  clearPendingUpload,
  type PendingUpload,
  readPendingUpload,
  savePendingUpload,
} from "../../state/pending-uploads.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";

/**
 * A change ID that could not be delivered waits in the local state and is used, and delivered, by
 * the next run.
 */
export class OmaChangeIdStore implements ChangeIdStore {
  readonly kind = "oma";
  readonly #db: StateDatabase;
  readonly #records: DiskRecords;
  readonly #api: OmaApi;
  readonly #jobId: string;
  readonly #logger: Logger;

  /** `jobId`: MIGRATEKIT_JOB_ID. */
  constructor(db: StateDatabase, api: OmaApi, jobId: string, logger: Logger) {
    this.#db = db;
    this.#records = new DiskRecords(db);
    this.#api = api;
    this.#jobId = jobId;
    this.#logger = logger;
  }

  async read(vm: VmIdentity, deviceKey: number, signal?: AbortSignal): Promise<string | undefined> {
    const stored = await this.#api.readChangeId(vm.vmPath, deviceKey, signal);
    // The API cannot know that a full copy was begun since; its ID no longer describes the target.
    if (this.#records.readDiskRecord(vm, deviceKey)?.unfinished === "full") return undefined;
    const pending = readPendingUpload(this.#db, vm, deviceKey);
    if (pending === undefined) return stored;
    if (stored === pending.changeId) {
      clearPendingUpload(this.#db, vm, deviceKey, pending.changeId); // only its answer was lost
      return stored;
    }
    if (!isNewer(pending, stored)) {
      this.#logger.warn({ deviceKey }, "The OMA API has a newer change ID than the one kept here");
      clearPendingUpload(this.#db, vm, deviceKey, pending.changeId);
      return stored;
    }
    await this.#deliverPending(vm, deviceKey, pending, signal);
    return pending.changeId;
  }

  async write(
    vm: VmIdentity,
    deviceKey: number,
    changeId: string,
    previous: string | undefined,
    signal?: AbortSignal,
  ): Promise<void> {
    const pending = { changeId, ...(previous === undefined ? {} : { previousChangeId: previous }) };
    savePendingUpload(this.#db, vm, deviceKey, pending);
    await this.#api.storeChangeId(this.#jobId, { deviceKey, ...pending }, { signal });
    clearPendingUpload(this.#db, vm, deviceKey, changeId);
  }

  /** One attempt, and no harm if it fails: the end of this run delivers a newer one anyway. */
  async #deliverPending(
    vm: VmIdentity,
    deviceKey: number,
    pending: PendingUpload,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    try {
      const once = { signal, attempts: 1 };
      await this.#api.storeChangeId(this.#jobId, { deviceKey, ...pending }, once);
      clearPendingUpload(this.#db, vm, deviceKey, pending.changeId);
      this.#logger.info({ deviceKey }, "The change ID kept from an earlier run was delivered");
    } catch (error) {
      signal?.throwIfAborted();
      const reason = messageOf(error);
      this.#logger.warn(
        { deviceKey, reason },
        "The change ID kept from an earlier run still waits",
      );
    }
  }
}

/**
 * What a run would read, without delivering or clearing anything: for a look ahead. `state` may be
 * missing where nothing was ever run. Throws `change-id-read`.
 */
export async function peekChangeId(
  state: StateDatabase | undefined,
  api: OmaApi,
  vm: VmIdentity,
  deviceKey: number,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const stored = await api.readChangeId(vm.vmPath, deviceKey, signal);
  if (state === undefined) return stored;
  if (new DiskRecords(state).readDiskRecord(vm, deviceKey)?.unfinished === "full") return undefined;
  const pending = readPendingUpload(state, vm, deviceKey);
  return pending !== undefined && isNewer(pending, stored) ? pending.changeId : stored;
}

/**
 * Whether the pending ID describes a later state than the stored one. If neither what the API held
 * before nor the numbers say so, somebody else has stored an ID since, and the API is right.
 */
function isNewer(pending: PendingUpload, stored: string | undefined): boolean {
  if (stored === undefined || stored === pending.previousChangeId) return true;
  const ours = splitChangeId(pending.changeId);
  const theirs = splitChangeId(stored);
  return (
    ours !== undefined &&
    theirs !== undefined &&
    ours.uuid === theirs.uuid &&
    ours.sequence > theirs.sequence
  );
}
