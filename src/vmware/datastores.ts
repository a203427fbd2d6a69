/** The datastores that a machine's files lie on. */
import { VimFault } from "./wire/faults.ts";
import { type ObjectProperties, retrieveObject } from "./wire/retrieve-properties.ts";
import {
  list,
  optionalInteger,
  optionalObject,
  optionalText,
  referenceValue,
} from "./wire/values.ts";
import type { Session } from "./wire/wire.ts";

export interface Datastore {
  readonly name: string;
  readonly freeBytes: number;
}

/** Of a machine: its datastores; of a datastore: what `datastoreOf` reads. */
export const ofMachinePath = "datastore";
export const datastorePath = "summary";

/** Morefs. @throws VimFault, MigratekitError `vsphere-protocol` */
export function datastoresOf(vm: ObjectProperties): string[] {
  const values = list(optionalObject(vm.get(ofMachinePath), "val"), "ManagedObjectReference");
  return values.map((value) => referenceValue(value, ofMachinePath).moref);
}

/** Undefined where it does not tell. @throws VimFault, MigratekitError `vsphere-protocol` */
export function datastoreOf(store: ObjectProperties): Datastore | undefined {
  const summary = optionalObject(store.get(datastorePath), "val");
  const name = optionalText(summary, "name");
  const freeBytes = optionalInteger(summary, "freeSpace");
  return name === undefined || freeBytes === undefined ? undefined : { name, freeBytes };
}

/**
 * Those that the account may see, of any kind: VMFS, NFS, vSAN, vVol. Of one that it may not see, or that
 * is gone, nothing is known.
 * @throws VimFault, EndpointError, MigratekitError `vsphere-protocol`; the signal's reason
 */
export async function readDatastores(
  session: Session,
  vmMoref: string,
  signal?: AbortSignal,
): Promise<Datastore[]> {
  const vm = { type: "VirtualMachine", moref: vmMoref };
  const answer = await retrieveObject(session, vm, [ofMachinePath], signal);
  const found: Datastore[] = [];
  for (const moref of datastoresOf(answer)) {
    const store = await readDatastore(session, moref, signal);
    if (store !== undefined) found.push(store);
  }
  return found;
}

async function readDatastore(
  session: Session,
  moref: string,
  signal?: AbortSignal,
): Promise<Datastore | undefined> {
  try {
    const store = { type: "Datastore", moref };
    return datastoreOf(await retrieveObject(session, store, [datastorePath], signal));
  } catch (error) {
    if (error instanceof VimFault) return undefined;
    throw error;
  }
}
