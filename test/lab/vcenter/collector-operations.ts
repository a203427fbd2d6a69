/** The property collector: retrieval in pages, and waiting for updates. */

import { FilterState } from "./filter-state.ts";
import type { CallContext, LabCore, Operation } from "./lab-core.ts";
import { findObject } from "./managers.ts";
import { contentOf, type Lookup, objectContent, select, selectObjects } from "./property-filter.ts";
import { requireSession } from "./session-operations.ts";
import type { CollectorState, Continuation, Session } from "./sessions.ts";
import {
  invalidArgument,
  noPermission,
  objectNotFound,
  requestedFault,
  VimFault,
} from "./vim-fault.ts";
import { Moref, type VimObject, vimObject } from "./vim-values.ts";

/** Longest single wait; real servers answer without updates now and then too. */
const waitMsMax = 60_000;

function lookupFor(lab: LabCore, session: Session | undefined): Lookup {
  return {
    find: (ref) => findObject(lab, session, ref),
    authenticated: session !== undefined,
    refusal: (ref, path) => refusalOf(lab, ref, path),
  };
}

/** `propertyMissing`: an account that may view the machine and not read it, or a fault of the moment. */
function refusalOf({ faults, inventory }: LabCore, ref: Moref, path: string): VimFault | undefined {
  const vm = ref.type === "VirtualMachine" ? inventory.vmByMoref(ref.value) : undefined;
  const set = vm && faults.peek("propertyMissing", { vm: vm.name });
  if (!vm || !set || !path.startsWith(String(set.value ?? ""))) return undefined;
  const { fault } = faults.take("propertyMissing", { vm: vm.name })!;
  return fault ? requestedFault(fault, undefined) : noPermission(ref, "System.Read");
}

/**
 * One page, of which each object is read now; the rest waits in the session under a token. The server cuts
 * pages where it likes, at the latest where the client wants it, and leaves out what has gone meanwhile.
 */
function page(call: CallContext, { rest, limit, previous }: Continuation): VimObject | undefined {
  const { lab, session } = call;
  const lookup = lookupFor(lab, session);
  const most = lab.faults.take("shortPages") ? 1 + ((lab.nextNumber() * 7919) % limit) : limit;
  const objects: VimObject[] = [];
  let at = 0;
  for (; at < rest.length && objects.length < most; at += 1) {
    const content = contentOf(rest[at]!, lookup);
    if (content) objects.push(objectContent(content));
  }
  if (objects.length === 0) return undefined;
  if (at === rest.length || !session) return vimObject("RetrieveResult", { objects });
  const token = String(lab.nextNumber());
  const left = { rest: rest.slice(at), limit };
  session.continuations.set(token, previous === undefined ? left : { ...left, previous });
  return vimObject("RetrieveResult", { token, objects });
}

/** `vmVanishes`: somebody removes a machine while a list is read. */
function letMachinesVanish({ lab }: CallContext): void {
  for (const { name, vm } of lab.faults.list()) {
    const gone =
      name === "vmVanishes" ? lab.inventory.vms.find((each) => each.name === vm) : undefined;
    if (gone && lab.faults.take("vmVanishes", { vm: gone.name })) lab.removeVm(gone);
  }
}

function collector(call: CallContext, session: Session): CollectorState {
  const known = session.collectors.get(call.self.value);
  if (known) return known;
  // The default collector exists in every session; others must have been created in it.
  if (call.self.value.startsWith("session[")) throw objectNotFound(call.self);
  const created: CollectorState = { filters: new Map() };
  session.collectors.set(call.self.value, created);
  return created;
}

async function waitForUpdates(call: CallContext, waitMs: number): Promise<VimObject | undefined> {
  const session = requireSession(call);
  const state = collector(call, session);
  const version = String(call.parameters.version ?? "");
  if (version !== "" && !/^\d+$/.test(version)) {
    throw new VimFault("InvalidCollectorVersion", "The collector version is not valid.");
  }
  if (version === "") for (const filter of state.filters.values()) filter.restart();
  const cancelled = new AbortController();
  state.cancelWait = () => cancelled.abort();
  const signal = AbortSignal.any([call.signal, cancelled.signal]);
  const until = Date.now() + waitMs;
  for (;;) {
    const updates = [...state.filters.values()]
      .map((filter) => filter.update(lookupFor(call.lab, session)))
      .filter((update) => update !== undefined);
    if (updates.length > 0) {
      const next = String(Number(version || "0") + 1);
      return vimObject("UpdateSet", { version: next, filterSet: updates, truncated: false });
    }
    const leftMs = until - Date.now();
    if (leftMs <= 0) return undefined;
    await call.lab.updates.wait(leftMs, signal);
    if (cancelled.signal.aborted) {
      if (!call.lab.sessions.all().includes(session))
        requireSession({ ...call, session: undefined });
      throw new VimFault("RequestCanceled", "The request was canceled by a user.");
    }
    if (call.signal.aborted) return undefined;
  }
}

export const collectorOperations: Readonly<Record<string, Operation>> = {
  RetrieveProperties: (call) => {
    const specs = call.parameters.specSet as readonly VimObject[];
    return selectObjects(specs, lookupFor(call.lab, call.session)).map(objectContent);
  },

  RetrievePropertiesEx: (call) => {
    const { objectsPerPage } = call.lab.settings;
    const specs = call.parameters.specSet as readonly VimObject[];
    const wanted = Number((call.parameters.options as VimObject).maxObjects ?? objectsPerPage);
    if (wanted < 1) throw invalidArgument("options.maxObjects");
    const rest = select(specs, lookupFor(call.lab, call.session));
    return page(call, { rest, limit: Math.min(wanted, objectsPerPage) });
  },

  // A client whose answer was lost asks with the same token again.
  ContinueRetrievePropertiesEx: (call) => {
    const session = requireSession(call);
    const token = String(call.parameters.token);
    const continuation = session.continuations.get(token);
    if (!continuation) throw invalidArgument("token");
    session.continuations.delete(continuation.previous ?? "");
    letMachinesVanish(call);
    const { rest, limit } = continuation;
    return page(call, { rest, limit, previous: token });
  },

  CancelRetrievePropertiesEx: (call) => {
    const session = requireSession(call);
    if (!session.continuations.delete(String(call.parameters.token))) {
      throw invalidArgument("token");
    }
    return undefined;
  },

  CreatePropertyCollector: (call) => {
    const session = requireSession(call);
    const value = `session[${session.key}]collector-${call.lab.nextNumber()}`;
    session.collectors.set(value, { filters: new Map() });
    return new Moref("PropertyCollector", value);
  },

  DestroyPropertyCollector: (call) => {
    const session = requireSession(call);
    collector(call, session).cancelWait?.();
    session.collectors.delete(call.self.value);
    return undefined;
  },

  CreateFilter: (call) => {
    const session = requireSession(call);
    const state = collector(call, session);
    const spec = call.parameters.spec as VimObject;
    // Raises the faults of a bad filter now, not at the first wait.
    selectObjects([spec], lookupFor(call.lab, session));
    const ref = new Moref(
      "PropertyFilter",
      `session[${session.key}]filter-${call.lab.nextNumber()}`,
    );
    state.filters.set(ref.value, new FilterState(ref, spec));
    call.lab.updates.notify();
    return ref;
  },

  DestroyPropertyFilter: (call) => {
    const session = requireSession(call);
    for (const state of session.collectors.values()) {
      if (state.filters.delete(call.self.value)) return undefined;
    }
    throw objectNotFound(call.self);
  },

  WaitForUpdatesEx: (call) => {
    const options = call.parameters.options as VimObject | undefined;
    const seconds = options?.maxWaitSeconds;
    return waitForUpdates(
      call,
      seconds === undefined ? waitMsMax : Math.min(Number(seconds) * 1000, waitMsMax),
    );
  },

  WaitForUpdates: (call) => waitForUpdates(call, waitMsMax),
  CheckForUpdates: (call) => waitForUpdates(call, 0),

  CancelWaitForUpdates: (call) => {
    collector(call, requireSession(call)).cancelWait?.();
    return undefined;
  },
};
