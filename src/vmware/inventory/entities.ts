/** Lists of inventory objects: a view over a container, read page by page, from its beginning to its very end. */

import { MigratekitError } from "../../errors.ts";
import { isVimFault } from "../wire/faults.ts";
import {
  type ObjectProperties,
  type RetrieveOptions,
  retrieveAll,
  sendInPassing,
} from "../wire/retrieve-properties.ts";
import { argumentReference } from "../wire/soap-channel.ts";
import { type ObjectReference, reference } from "../wire/values.ts";
import type { Session } from "../wire/wire.ts";

export interface Listing {
  /** Absent: the whole inventory. */
  readonly container?: ObjectReference | undefined;
  /** What is read of each type that is listed. */
  readonly properties: Readonly<Record<string, readonly string[]>>;
  /** Morefs of vApps: their machines are listed as well, which a view over a folder may leave out. */
  readonly vApps?: readonly string[];
}

/** In a row, without an object that was not told before. */
const restartsMax = 3;

/**
 * Every object of the types wanted, each once. A list that dies with its session, or of an object that is
 * removed while it is read, is begun again; what was told already is not told twice.
 * @throws VimFault, EndpointError, MigratekitError `vsphere-protocol`, `vm-not-found`; the signal's reason
 */
export async function* listEntities(
  session: Session,
  listing: Listing,
  options: RetrieveOptions = {},
): AsyncGenerator<ObjectProperties> {
  const told = new Set<string>();
  for (let barren = 0; ; ) {
    const before = told.size;
    try {
      for await (const entity of listOnce(session, listing, options)) {
        if (told.has(entity.object.moref)) continue;
        told.add(entity.object.moref);
        yield entity;
      }
      return;
    } catch (error) {
      barren = told.size === before ? barren + 1 : 0;
      const passes = isVimFault(error, "InvalidArgument", "ManagedObjectNotFound");
      if (!passes || barren >= restartsMax) throw error;
    }
  }
}

async function* listOnce(
  session: Session,
  { container, properties, vApps = [] }: Listing,
  options: RetrieveOptions,
): AsyncGenerator<ObjectProperties> {
  const types = Object.keys(properties);
  const propSet = types.map((type) => ({ type, pathSet: properties[type] }));
  const view = await createView(session, container ?? session.content.rootFolder, types, options);
  const objectSet = [through(view, "ContainerView", "view")];
  // One of them may be gone by now, which is no reason to end; a view that is gone with its session is.
  const ofVApps = {
    propSet,
    objectSet: vApps.map((moref) => through({ type: "VirtualApp", moref }, "VirtualApp", "vm")),
    reportMissingObjectsInResults: true,
  };
  const specs = [{ propSet, objectSet }, ...(vApps.length > 0 ? [ofVApps] : [])];
  try {
    yield* retrieveAll(session, specs, options);
  } finally {
    // Otherwise it goes with the session.
    await sendInPassing(session, "DestroyView", {
      _this: argumentReference(view.type, view.moref),
    });
  }
}

async function createView(
  session: Session,
  container: ObjectReference,
  type: readonly string[],
  { signal }: RetrieveOptions,
): Promise<ObjectReference> {
  const { viewManager } = session.content;
  if (!viewManager)
    throw new MigratekitError("vm-not-found", "the endpoint cannot list its inventory");
  const args = {
    _this: argumentReference(viewManager.type, viewManager.moref),
    container: argumentReference(container.type, container.moref),
    type,
    recursive: true,
  };
  return reference(await session.read("CreateContainerView", args, signal), "returnval");
}

/** The objects that a property of another leads to. */
function through({ type, moref }: ObjectReference, ofType: string, path: string) {
  const traversal = { name: path, type: ofType, path, skip: false };
  return {
    obj: argumentReference(type, moref),
    skip: true,
    selectSet: [{ attributes: { "xsi:type": "TraversalSpec" }, ...traversal }],
  };
}
