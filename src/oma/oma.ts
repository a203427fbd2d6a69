import type { Logger } from "pino";
import { MigratekitError, messageOf } from "../errors.ts";
import { type ChangeIdStore, isChangeId, splitChangeId } from "../state/change-ids.ts";
import type { StateDatabase } from "../state/database/database.ts";
import { DiskRecords } from "../state/disk-records.ts";
import {
  clearPendingUpload,
  type PendingUpload,
  readPendingUpload,
  savePendingUpload,
} from "../state/pending-uploads.ts";
import type { VmIdentity } from "../state/vm-identity.ts";
import { OmaClient, type OmaClientOptions, OmaFailure, oneLine } from "./client.ts";

export interface OmaOptions extends OmaClientOptions {
  /** MIGRATEKIT_JOB_ID. */
  readonly jobId: string;
  readonly logger: Logger;
}

/**
 * Change IDs kept by the appliance (contract, section 3). A change ID that could not be delivered
 * waits in the local state and is used, and delivered, by the next run.
 */
export class OmaChangeIdStore implements ChangeIdStore {
  readonly kind = "oma";
  readonly #db: StateDatabase;
  readonly #records: DiskRecords;
  readonly #client: OmaClient;
  readonly #jobId: string;
  readonly #logger: Logger;

  constructor(db: StateDatabase, options: OmaOptions) {
    const { jobId, logger, ...clientOptions } = options;
    this.#db = db;
    this.#records = new DiskRecords(db);
    this.#client = new OmaClient(clientOptions);
    this.#jobId = jobId;
    this.#logger = logger;
  }

  async read(vm: VmIdentity, deviceKey: number, signal?: AbortSignal): Promise<string | undefined> {
    const stored = await getChangeId(this.#client, vm, deviceKey, signal);
    // The API cannot know that a full copy was begun since; its ID describes the target no more.
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
    try {
      await this.#post(deviceKey, pending, signal);
    } catch (error) {
      signal?.throwIfAborted();
      throw new MigratekitError(
        "change-id-write",
        `Storing the change ID of disk ${deviceKey} at ${this.#client.displayUrl} failed: ` +
          messageOf(error),
        { cause: error, context: { deviceKey, url: this.#client.displayUrl } },
      );
    }
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
      await this.#post(deviceKey, pending, signal, 1);
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

  async #post(
    deviceKey: number,
    pending: PendingUpload,
    signal: AbortSignal | undefined,
    attempts?: number,
  ): Promise<void> {
    const { status } = await this.#client.request({
      method: "POST",
      path: `/api/v1/replications/${encodeURIComponent(this.#jobId)}/changeid`,
      body: {
        change_id: pending.changeId,
        disk_id: `disk-${deviceKey}`,
        previous_change_id: pending.previousChangeId ?? "",
      },
      ...(signal === undefined ? {} : { signal }),
      ...(attempts === undefined ? {} : { attempts }),
    });
    if (status === 404) throw new OmaFailure(`the API does not know job ${this.#jobId}`, false);
  }
}

/**
 * What a run would read, without delivering or clearing anything: for a look ahead. `state` may be
 * missing where nothing was ever run. Throws `change-id-read`.
 */
export async function peekChangeId(
  state: StateDatabase | undefined,
  options: OmaClientOptions,
  vm: VmIdentity,
  deviceKey: number,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const stored = await getChangeId(new OmaClient(options), vm, deviceKey, signal);
  if (state === undefined) return stored;
  if (new DiskRecords(state).readDiskRecord(vm, deviceKey)?.unfinished === "full") return undefined;
  const pending = readPendingUpload(state, vm, deviceKey);
  return pending !== undefined && isNewer(pending, stored) ? pending.changeId : stored;
}

async function getChangeId(
  client: OmaClient,
  vm: VmIdentity,
  deviceKey: number,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const query = new URLSearchParams({ vm_path: vm.vmPath, disk_id: `disk-${deviceKey}` });
  try {
    const { status, body } = await client.request({
      method: "GET",
      path: `/api/v1/replications/changeid?${query}`,
      ...(signal === undefined ? {} : { signal }),
    });
    return status === 404 ? undefined : parseAnswer(body);
  } catch (error) {
    signal?.throwIfAborted();
    throw new MigratekitError(
      "change-id-read",
      `Reading the change ID of disk ${deviceKey} from ${client.displayUrl} failed: ` +
        messageOf(error),
      { cause: error, context: { deviceKey, url: client.displayUrl } },
    );
  }
}

/** `{"change_id": "…"}`; nothing, null or an empty text for none. Throws `OmaFailure`. */
function parseAnswer(body: string): string | undefined {
  if (body.trim() === "") return undefined;
  let answer: unknown;
  try {
    answer = JSON.parse(body);
  } catch {
    throw new OmaFailure(`the answer is not JSON: ${oneLine(body)}`, false);
  }
  if (typeof answer !== "object" || answer === null || Array.isArray(answer)) {
    throw new OmaFailure(`the answer is not a JSON object: ${oneLine(body)}`, false);
  }
  if ("error" in answer) throw new OmaFailure(`the API answered: ${oneLine(body)}`, false);
  const changeId = "change_id" in answer ? (answer.change_id ?? "") : "";
  if (typeof changeId !== "string") {
    throw new OmaFailure(`change_id is not a text: ${oneLine(body)}`, false);
  }
  if (changeId.trim() === "") return undefined;
  if (isChangeId(changeId.trim())) return changeId.trim();
  throw new OmaFailure(`this is not a change ID: ${oneLine(changeId)}`, false);
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
