/** The property collector: retrieval in pages, and waiting for updates. */

import { FilterState } from "./filter-state.ts";
import type { CallContext, LabCore, Operation } from "./lab-core.ts";
import { findObject } from "./managers.ts";
import { type Lookup, objectContent, selectObjects } from "./property-filter.ts";
import { requireSession } from "./session-operations.ts";
import type { CollectorState, Session } from "./sessions.ts";
import { invalidArgument, objectNotFound, VimFault } from "./vim-fault.ts";
import { Moref, type VimObject, vimObject } from "./vim-values.ts";

/** Longest single wait; real servers answer without updates now and then too. */
const waitMsMax = 60_000;

function lookupFor(lab: LabCore, session: Session | undefined): Lookup {
  return { find: (ref) => findObject(lab, session, ref), authenticated: session !== undefined };
}

function retrieve(call: CallContext): VimObject[] {
  const specs = call.parameters.specSet as readonly VimObject[];
  return selectObjects(specs, lookupFor(call.lab, call.session)).map(objectContent);
}

/** One page of a retrieval; the rest waits in the session under a token. */
function page(call: CallContext, objects: VimObject[], limit: number): VimObject | undefined {
  if (objects.length === 0) return undefined;
  if (objects.length <= limit || !call.session) return vimObject("RetrieveResult", { objects });
  const token = String(call.lab.nextNumber());
  call.session.continuations.set(token, objects.slice(limit));
  return vimObject("RetrieveResult", { token, objects: objects.slice(0, limit) });
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
  RetrieveProperties: retrieve,

  RetrievePropertiesEx: (call) => {
    const options = call.parameters.options as VimObject;
    const limit = Number(options.maxObjects ?? call.lab.settings.objectsPerPage);
    return page(call, retrieve(call), Math.max(1, limit));
  },

  ContinueRetrievePropertiesEx: (call) => {
    const session = requireSession(call);
    const token = String(call.parameters.token);
    const rest = session.continuations.get(token);
    if (!rest) throw invalidArgument("token");
    session.continuations.delete(token);
    return page(call, rest, call.lab.settings.objectsPerPage);
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
