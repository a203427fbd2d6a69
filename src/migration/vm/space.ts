/**
 * Room on the VM's datastores. A snapshot grows with everything that the guest writes while it exists; a
 * datastore that is full stops every VM on it, so a run ends before that.
 */
import type { Logger } from "pino";
import type { Config } from "../../config.ts";
import { MigratekitError, messageOf } from "../../errors.ts";
import { formatBytes } from "../../text.ts";
import type { UndoStack } from "../../undo.ts";
import type { Datastore } from "../../vmware/datastores.ts";
import type { Site } from "./site.ts";

/** Seldom for vCenter, often enough for a datastore that fills at 100 MB/s. */
const lookIntervalMs = 10_000;

export interface SpaceContext {
  readonly site: Pick<Site, "client" | "vm">;
  readonly config: Pick<Config, "datastoreFloor">;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Looks before the snapshot, and goes on looking until `undo` unwinds. Gives a signal that also ends the
 * run once a datastore has less free than `--datastore-floor`; below twice as much there is a warning.
 * @throws MigratekitError `datastore-full`, `vsphere-…`; the signal's reason
 */
export async function watchSpace(context: SpaceContext, undo: UndoStack): Promise<AbortSignal> {
  const { site, config, logger, signal } = context;
  if (config.datastoreFloor === 0) return signal;
  const warned = new Set<string>();
  const look = async () => {
    for (const store of await site.client.readDatastores(site.vm.moref, signal)) {
      const full = fullness(store, config.datastoreFloor);
      if (full !== undefined) throw full;
      if (store.freeBytes >= 2 * config.datastoreFloor || warned.has(store.name)) continue;
      warned.add(store.name);
      logger.warn({ datastore: store.name, freeBytes: store.freeBytes }, nearlyFull(store));
    }
  };
  await look();
  const controller = new AbortController();
  const timer = setInterval(() => {
    look().catch((error: unknown) => {
      if (isFull(error)) controller.abort(error);
      else logger.debug(`the datastores' free space could not be read: ${messageOf(error)}`);
    });
  }, lookIntervalMs);
  undo.defer("stop looking at the datastores", () => clearInterval(timer));
  return AbortSignal.any([signal, controller.signal]);
}

/** The error of a datastore with less free than the floor. */
export function fullness(store: Datastore, floorBytes: number): MigratekitError | undefined {
  if (store.freeBytes >= floorBytes) return undefined;
  return new MigratekitError(
    "datastore-full",
    `${store.name} has ${formatBytes(store.freeBytes)} free, less than the ${formatBytes(floorBytes)} of --datastore-floor`,
    { context: { datastore: store.name } },
  );
}

export function nearlyFull({ name, freeBytes }: Datastore): string {
  return `${name} has only ${formatBytes(freeBytes)} free, and a snapshot grows with what the guest writes`;
}

function isFull(error: unknown): boolean {
  return error instanceof MigratekitError && error.code === "datastore-full";
}
