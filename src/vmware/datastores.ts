/** The datastores that a machine's files lie on. */
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
 * Those that the account may see, of any kind: VMFS, NFS, vSAN, vVol.
 * @throws VimFault, EndpointError, MigratekitError `vsphere-protocol`; the signal's reason
 */
export async function readDatastores(
  session: Session,
  vmMoref: string,
  signal?: AbortSignal,
): Promise<Datastore[]> {
  const vm = { type: "VirtualMachine", moref: vmMoref };
  const answer = await retrieveObject(session, vm, ["datastore"], signal);
  const found: Datastore[] = [];
  for (const value of list(
    optionalObject(answer.get("datastore"), "val"),
    "ManagedObjectReference",
  )) {
    const { moref } = referenceValue(value, "datastore");
    const store = await retrieveObject(session, { type: "Datastore", moref }, ["summary"], signal);
    // Who may see the VM may not see its datastore: then nothing is known of its space.
    const summary = store.has("summary") ? optionalObject(store.get("summary"), "val") : undefined;
    const name = optionalText(summary, "name");
    const freeBytes = optionalInteger(summary, "freeSpace");
    if (name !== undefined && freeBytes !== undefined) found.push({ name, freeBytes });
  }
  return found;
}
