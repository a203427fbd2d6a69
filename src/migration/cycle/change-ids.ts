/** The change ID of a disk: read before the VM is touched, true after the flush, told to its store. */
import type { Logger } from "pino";
import { isChangeId } from "../../change-id.ts";
import type { Config } from "../../config.ts";
import { MigratekitError, messageOf } from "../../errors.ts";
import { OmaApi } from "../../oma/oma.ts";
import { type ChangeIdStore, LocalChangeIdStore } from "../../state/change-ids.ts";
import type { State } from "../../state/state.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import type { FrozenDisk } from "../disk.ts";
import { OmaChangeIdStore } from "./oma-change-ids.ts";
import { inPieces, takeSamples } from "./samples.ts";

/** Whose change IDs, and where they are kept. */
interface ChangeIdContext {
  readonly config: Config;
  readonly state: State;
  readonly identity: VmIdentity;
  readonly logger: Logger;
}

/** The OMA API has the say when the appliance manages the job, else the state directory. */
export function openChangeIdStore({
  config,
  state,
  logger,
}: Omit<ChangeIdContext, "identity">): ChangeIdStore {
  if (config.changeIdJob === undefined) return new LocalChangeIdStore(state.records);
  const api = new OmaApi({ baseUrl: config.cloudstackApiUrl });
  return new OmaChangeIdStore(state.database, api, config.changeIdJob, logger);
}

/**
 * The one-time import of change IDs that another program kept. It may stay in a configuration: where
 * this state directory knows a disk already, it knows more, and nothing is imported. An imported ID
 * is used only onto a target that proves to hold that state (guard.ts).
 * @throws MigratekitError `usage` where they could not be used at all
 */
export function importChangeIds(
  { config, state, identity, logger }: ChangeIdContext,
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
    const imported = state.records.importChangeId(identity, key, changeId);
    logger.info(
      { disk: `disk-${key}`, changeId },
      imported
        ? `disk-${key}: the change ID given with --import-change-ids was taken over`
        : `disk-${key}: --import-change-ids is not used: an earlier run of migratekit knows more`,
    );
  }
}

/**
 * Reads the change ID of every disk, before anything else is done to the VM. A store that cannot be
 * read ends the run here, unless a full copy was asked for.
 * @returns by device key; a disk without a stored one is absent
 * @throws MigratekitError `change-id-read`, `state-unusable`
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
 * The one place where a change ID becomes true: everything is flushed on the target by now, and seen
 * there (proof.ts). `remembered` are ranges [offset, length]. A disk without a change ID has nothing
 * to record.
 * @throws MigratekitError `state-unusable`; NbdError where the samples cannot be read
 */
export async function recordChangeId(
  context: {
    readonly identity: VmIdentity;
    readonly state: Pick<State, "records">;
    readonly config: Pick<Config, "changeIdJob">;
    readonly signal: AbortSignal;
  },
  disk: FrozenDisk,
  remembered: Float64Array,
): Promise<void> {
  const { frozen, target, storedChangeId } = disk;
  const { changeId, capacityBytes, key } = frozen;
  if (changeId === undefined) return;
  const samples = await takeSamples(target.endpoint, inPieces(remembered), context.signal);
  context.state.records.writeDiskRecord(context.identity, {
    deviceKey: key,
    changeId,
    capacityBytes,
    targetUri: target.identity,
    targetSizeBytes: target.info.sizeBytes,
    syncedAt: new Date().toISOString(),
    samples,
    // A death before the OMA API has it must not lose it: the next run delivers it.
    ...(context.config.changeIdJob === undefined
      ? {}
      : { pendingUpload: { previousChangeId: storedChangeId } }),
  });
}

/**
 * Tells the store the change IDs that became true. All are tried; the first failure is thrown in the
 * end.
 * @throws MigratekitError `change-id-write`
 */
export async function persistChangeIds(
  store: ChangeIdStore,
  vm: VmIdentity,
  copied: readonly FrozenDisk[],
  signal: AbortSignal,
): Promise<void> {
  const outcomes = await Promise.allSettled(
    copied.map(async ({ frozen: { key, changeId }, storedChangeId }) => {
      if (changeId !== undefined) await store.write(vm, key, changeId, storedChangeId, signal);
    }),
  );
  const failed = outcomes.find((outcome) => outcome.status === "rejected");
  if (failed) throw failed.reason;
}
