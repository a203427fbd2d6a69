/**
 * The two ways in which a vSphere call fails without being nonsense: the endpoint answered with a fault
 * (`VimFault`), or there was no answer (`EndpointError`). Both stay inside src/vmware; `asMigratekitError`
 * turns them into what the rest of the program knows.
 */

import { type ErrorCode, MigratekitError } from "../../errors.ts";
import { formatDuration, oneLine } from "../../text.ts";
import { optionalObject, optionalText, typeOf } from "./values.ts";

/** A fault of the vSphere API, named by its type (`NotAuthenticated`, `FileFault`, `NoPermission` …). */
export class VimFault extends Error {
  override readonly name = "VimFault";
  readonly fault: string;
  /** In the endpoint's own words; may be empty. */
  readonly text: string;
  /** For `NoPermission`: the privilege that is lacking. */
  readonly privilegeId: string | undefined;
  /** For `TaskInProgress`: the task in the way. */
  readonly taskMoref: string | undefined;

  constructor(fault: string, text: string, detail?: unknown) {
    super(text === "" ? fault : `${fault}: ${oneLine(text)}`);
    this.fault = fault;
    this.text = text;
    this.privilegeId = optionalText(detail, "privilegeId");
    this.taskMoref = fault === "TaskInProgress" ? optionalText(detail, "task") : undefined;
  }
}

/** Whether it is a fault of one of these types; subtypes are types of their own here. */
export function isVimFault(error: unknown, ...faults: string[]): error is VimFault {
  return error instanceof VimFault && faults.includes(error.fault);
}

/**
 * What a fault says, for whoever must decide what to do next.
 *
 * - `busy`: another operation works on the object, and this one was not begun. It passes with the other.
 * - `away`: vCenter does not reach the host just now. It passes; whether anything was begun is not known.
 * - `hiccup`: something inside vSphere went wrong this once. What only reads may be asked again.
 * - `changes`: in answer to a question for changes: their records are missing, broken, of another history, or
 *   not kept at all. It stays so; a full copy gets over it.
 *
 * Any other fault is about the call itself, and the same call would meet it again.
 */
export type FaultKind = "busy" | "away" | "hiccup" | "changes";

const faultKinds: Readonly<Record<string, FaultKind>> = {
  TaskInProgress: "busy",
  VAppTaskInProgress: "busy",
  ConcurrentAccess: "busy",
  InvalidState: "busy", // its subtypes, such as InvalidPowerState, say what has to change first
  ResourceInUse: "busy",
  FileLocked: "busy",
  HostCommunication: "away",
  HostNotConnected: "away",
  HostNotReachable: "away",
  InvalidHostConnectionState: "away",
  SystemError: "hiccup",
  RequestCanceled: "hiccup",
  Timedout: "hiccup",
  FileFault: "changes",
  FileNotFound: "changes",
  CannotAccessFile: "changes",
  InvalidArgument: "changes", // "changeId": one of another history, or none at all
  NotFound: "changes",
  NotSupported: "changes",
};

/** Undefined where the table does not know the fault, and for anything that is no fault. */
export function kindOf(error: unknown): FaultKind | undefined {
  if (!(error instanceof VimFault) || !Object.hasOwn(faultKinds, error.fault)) return undefined;
  return faultKinds[error.fault];
}

/** A fault that passes by itself and did not in the time given. */
export class LastingFault extends VimFault {
  readonly waitedMs: number;
  /** The task in the way, where vSphere tells. */
  readonly otherTask: string | undefined;

  constructor(fault: VimFault, waitedMs: number, otherTask: string | undefined) {
    super(fault.fault, fault.text);
    this.waitedMs = waitedMs;
    this.otherTask = otherTask;
  }
}

export type EndpointFailure =
  | "refused"
  | "unresolved"
  | "unroutable"
  | "timeout"
  | "lost"
  | "unavailable";

/** No answer came. Every kind may pass by itself, so a read may be tried again. */
export class EndpointError extends Error {
  override readonly name = "EndpointError";
  readonly failure: EndpointFailure;

  constructor(failure: EndpointFailure, message: string) {
    super(message);
    this.failure = failure;
  }
}

/** An answer that is none: whether the call took effect is not known. */
export function isGarbled(error: unknown): error is MigratekitError {
  return error instanceof MigratekitError && error.code === "vsphere-protocol";
}

/**
 * The fault inside a decoded SOAP envelope. The detail element's `xsi:type` is the fault's name; its tag
 * (`InvalidLoginFault`) says the same where a server leaves the type out.
 */
export function faultOfEnvelope(root: unknown): VimFault {
  const body = optionalObject(optionalObject(root, "Envelope"), "Body");
  const fault = optionalObject(body, "Fault");
  const text = optionalText(fault, "faultstring") ?? "";
  const detail = Object.entries(optionalObject(fault, "detail") ?? {}).find(
    ([tag]) => tag !== "attributes",
  );
  if (!detail) return new VimFault(faultOfCode(optionalText(fault, "faultcode")), text);
  const [tag, content] = detail;
  return new VimFault(typeOf(content) ?? tag.replace(/Fault$/, ""), text, content);
}

/** The fault inside a `LocalizedMethodFault` (a task's error, a property that could not be read). */
export function faultOfLocalized(localized: unknown): VimFault {
  const fault = optionalObject(localized, "fault");
  const text = optionalText(localized, "localizedMessage") ?? "";
  return new VimFault(typeOf(fault) ?? "UnknownFault", text, fault);
}

/**
 * What callers outside this folder get to see. `what` completes "cannot …" (`read the properties of vm-42`).
 * Aborts and errors that are already ours pass unchanged.
 */
export function asMigratekitError(
  error: unknown,
  what: string,
  faultCode: ErrorCode = "vsphere-fault",
): unknown {
  if (error instanceof EndpointError)
    return new MigratekitError("vsphere-unreachable", `cannot ${what}: ${error.message}`, {
      context: { failure: error.failure },
    });
  if (error instanceof LastingFault) return lastingError(error, what);
  if (!(error instanceof VimFault)) return error;
  const context = { fault: error.fault, privilegeId: error.privilegeId };
  const code = error.fault === "NoPermission" ? "vsphere-permission" : faultCode;
  const lacking = error.privilegeId ? ` (privilege ${oneLine(error.privilegeId, 80)})` : "";
  return new MigratekitError(code, `cannot ${what}: ${error.message}${lacking}`, {
    cause: error,
    context,
    ...(remedies.has(error.fault) ? { remedy: remedies.get(error.fault) } : {}),
  });
}

/** For faults that tell the cause, whatever was asked for. */
const remedies: ReadonlyMap<string, string> = new Map([
  [
    "RestrictedVersion",
    "The host's free licence does not allow this; go through a vCenter or license the host.",
  ],
  [
    "InvalidPowerState",
    "The VM's power state does not allow this; where it is suspended, resume it or power it off.",
  ],
  ["HostNotConnected", "Connect the VM's ESXi host to the vCenter again."],
]);

function lastingError(error: LastingFault, what: string): MigratekitError {
  const { fault, otherTask, waitedMs } = error;
  const other = otherTask === undefined ? "" : ` The other task: ${otherTask}.`;
  const waited = `tried again for ${formatDuration(waitedMs / 1000)}`;
  return new MigratekitError(
    "vsphere-busy",
    `cannot ${what}: ${error.message} (${waited}, and it did not pass).${other}`,
    {
      cause: error,
      context: { fault, waitedMs: Math.round(waitedMs), otherTask },
      ...(kindOf(error) === "busy" ? {} : { remedy: remedies.get(fault) ?? awayRemedy }),
    },
  );
}

const awayRemedy =
  "See in the vSphere client whether the VM's host is connected and well, then run again; " +
  "--busy-timeout waits longer.";

/** A fault without detail, such as a proxy's: `ServerFaultCode`, `Client.Version`. */
function faultOfCode(code: string | undefined): string {
  const local = code?.slice(code.indexOf(":") + 1);
  return local ? oneLine(local, 60) : "UnknownFault";
}
