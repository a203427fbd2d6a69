/** Properties of managed objects, through the property collector. */

import { MigratekitError } from "../../errors.ts";
import { faultOfLocalized, kindOf, type VimFault } from "./faults.ts";
import { type Arguments, argumentReference } from "./soap-channel.ts";
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

  /** The faults that kept properties from being read. */
  get faults(): readonly VimFault[] {
    return [...this.#faults.values()];
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
  for await (const found of retrieveAll(session, [spec], { signal, inspect: refusePassing }))
    if (found.object.moref === moref) return found;
  throw protocolError(`${session.endpoint} answered nothing about ${moref}`);
}

/** Bound of a listing; beyond it the inventory is no longer one that a person chooses names from. */
const objectsMax = 100_000;
/** Pages without an object: what was to be on one has vanished meanwhile. */
const emptyPagesMax = 10;

export interface RetrieveOptions {
  readonly signal?: AbortSignal | undefined;
  /** Throws for a page that is to be asked for again. */
  readonly inspect?: ((answer: unknown) => void) | undefined;
  /** Most objects in a page; the endpoint may send fewer, and old simulators send all. */
  readonly pageObjects?: number | undefined;
}

/**
 * Streams the objects that filter specifications select, page by page; who stops early leaves nothing behind on
 * the endpoint. The pages are of one session: where that is lost a further one rejects with InvalidArgument.
 */
export async function* retrieveAll(
  session: Session,
  specs: readonly object[],
  { signal, inspect = refuseUnauthenticated, pageObjects = 500 }: RetrieveOptions = {},
): AsyncGenerator<ObjectProperties> {
  const { type, moref } = session.content.propertyCollector;
  const collector = argumentReference(type, moref);
  const args = { _this: collector, specSet: specs, options: { maxObjects: pageObjects } };
  let answer = await session.read("RetrievePropertiesEx", args, signal, inspect);
  let token: string | undefined;
  let emptyPages = 0;
  try {
    for (let count = 0; ; ) {
      const page = optionalObject(answer, "returnval");
      const objects = list(page, "objects");
      token = optionalText(page, "token") || undefined;
      count += objects.length;
      if (objects.length === 0) emptyPages += 1;
      for (const content of objects) yield new ObjectProperties(content);
      if (token === undefined) return;
      if (emptyPages > emptyPagesMax || count > objectsMax)
        throw new MigratekitError(
          "vsphere-protocol",
          `${session.endpoint} lists objects without an end (${count} so far)`,
        );
      const next = { _this: collector, token };
      answer = await session.read("ContinueRetrievePropertiesEx", next, signal, inspect);
    }
  } finally {
    if (token !== undefined)
      await sendInPassing(session, "CancelRetrievePropertiesEx", { _this: collector, token });
  }
}

/** For what tidies up in a session that ends sooner or later: it neither waits for long nor rejects. */
export async function sendInPassing(session: Session, operation: string, args: Arguments) {
  await session.send(operation, args, AbortSignal.timeout(5_000)).catch(() => {});
}

/** Without a session the collector answers, and says of each single property that it may not be read. */
function refuseUnauthenticated(answer: unknown): void {
  for (const fault of missingFaults(answer)) if (fault.fault === "NotAuthenticated") throw fault;
}

/** Of one object, a property that cannot be read just now is worth asking again for. */
function refusePassing(answer: unknown): void {
  refuseUnauthenticated(answer);
  for (const fault of missingFaults(answer)) if (passesByItself(fault)) throw fault;
}

/** Of a fault that kept a property from being read. */
export function passesByItself(fault: VimFault): boolean {
  const kind = kindOf(fault);
  return kind !== undefined && kind !== "changes";
}

function missingFaults(answer: unknown): VimFault[] {
  const objects = list(optionalObject(answer, "returnval"), "objects");
  const missing = objects.flatMap((content) => list(content, "missingSet"));
  return missing.map((property) => faultOfLocalized(optionalObject(property, "fault")));
}
