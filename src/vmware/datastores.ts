/** The datastores that a machine's files lie on. */
import { VimFault } from "./wire/faults.ts";
import { retrieveObject } from "./wire/retrieve-properties.ts";
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
  const answer = await retrieveObject(session, vm, ["datastore"], signal);
  const morefs = list(optionalObject(answer.get("datastore"), "val"), "ManagedObjectReference");
  const found: Datastore[] = [];
  for (const value of morefs) {
    const { moref } = referenceValue(value, "datastore");
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
    const store = await retrieveObject(session, { type: "Datastore", moref }, ["summary"], signal);
    const summary = optionalObject(store.get("summary"), "val");
    const name = optionalText(summary, "name");
    const freeBytes = optionalInteger(summary, "freeSpace");
    return name === undefined || freeBytes === undefined ? undefined : { name, freeBytes };
  } catch (error) {
    if (error instanceof VimFault) return undefined;
    throw error;
  }
}
