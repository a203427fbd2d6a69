/** Properties of managed objects, through the property collector. */

import { MigratekitError } from "../../errors.ts";
import { faultOfLocalized, kindOf, type VimFault } from "./faults.ts";
import { argumentReference } from "./soap-channel.ts";
import {
  list,
  type ObjectReference,
  object,
  optionalObject,
  optionalText,
  protocolError,
  reference,
  text,
} from "./values.ts";
import type { Session } from "./wire.ts";

/** What one object answered. A property that is unset on the server is absent. */
export class ObjectProperties {
  readonly object: ObjectReference;
  /** By path; each value is an object with the single field `val`, for the readers in values.ts. */
  readonly #values = new Map<string, unknown>();
  readonly #faults = new Map<string, VimFault>();

  constructor(content: unknown) {
    this.object = reference(content, "obj");
    for (const property of list(content, "propSet"))
      this.#values.set(text(property, "name"), property);
    for (const property of list(content, "missingSet"))
      this.#faults.set(text(property, "path"), faultOfLocalized(object(property, "fault")));
  }

  /** Holder of the value for `text(holder, "val")` and its kin; throws the fault that kept it from being read. */
  get(path: string): unknown {
    const fault = this.#faults.get(path);
    if (fault) throw fault;
    return this.#values.get(path);
  }

  has(path: string): boolean {
    return this.#values.has(path);
  }
}

/** Reads the given paths of one object. A vanished object rejects with the fault `ManagedObjectNotFound`. */
export async function retrieveObject(
  session: Session,
  { type, moref }: ObjectReference,
  paths: readonly string[],
  signal?: AbortSignal,
): Promise<ObjectProperties> {
  const spec = {
    propSet: [{ type, pathSet: paths }],
    objectSet: [{ obj: argumentReference(type, moref), skip: false }],
  };
  for await (const found of retrieveAll(session, spec, signal, refusePassing))
    if (found.object.moref === moref) return found;
  throw protocolError(`${session.endpoint} answered nothing about ${moref}`);
}

/** Bound of a listing; beyond it the inventory is no longer one that a person chooses names from. */
const objectsMax = 100_000;

/** Streams the objects that a filter specification selects, page by page. */
export async function* retrieveAll(
  session: Session,
  spec: object,
  signal?: AbortSignal,
  inspect: (answer: unknown) => void = refuseUnauthenticated,
): AsyncGenerator<ObjectProperties> {
  const { type, moref } = session.content.propertyCollector;
  const collector = argumentReference(type, moref);
  const args = { _this: collector, specSet: [spec], options: { maxObjects: 500 } };
  let answer = await session.read("RetrievePropertiesEx", args, signal, inspect);
  for (let count = 0; ; ) {
    const page = optionalObject(answer, "returnval");
    const objects = list(page, "objects");
    count += objects.length;
    for (const content of objects) yield new ObjectProperties(content);
    const token = optionalText(page, "token");
    if (!token) return;
    if (objects.length === 0 || count > objectsMax)
      throw new MigratekitError(
        "vsphere-protocol",
        `${session.endpoint} lists objects without an end (${count} so far)`,
      );
    answer = await session.read(
      "ContinueRetrievePropertiesEx",
      { _this: collector, token },
      signal,
    );
  }
}

/** Without a session the collector answers, and says of each single property that it may not be read. */
function refuseUnauthenticated(answer: unknown): void {
  for (const fault of missingFaults(answer)) if (fault.fault === "NotAuthenticated") throw fault;
}

/** Of one object, a property that cannot be read just now is worth asking again for. */
function refusePassing(answer: unknown): void {
  refuseUnauthenticated(answer);
  for (const fault of missingFaults(answer)) {
    const kind = kindOf(fault);
    if (kind !== undefined && kind !== "changes") throw fault;
  }
}

function missingFaults(answer: unknown): VimFault[] {
  const objects = list(optionalObject(answer, "returnval"), "objects");
  const missing = objects.flatMap((content) => list(content, "missingSet"));
  return missing.map((property) => faultOfLocalized(optionalObject(property, "fault")));
}
