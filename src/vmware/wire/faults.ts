/**
 * The two ways in which a vSphere call fails without being nonsense: the endpoint answered with a fault
 * (`VimFault`), or there was no answer (`EndpointError`). Both stay inside src/vmware; `asMigratekitError`
 * turns them into what the rest of the program knows.
 */

import { type ErrorCode, MigratekitError } from "../../errors.ts";
import { oneLine } from "../../text.ts";
import { optionalObject, optionalText, typeOf } from "./values.ts";

/** A fault of the vSphere API, named by its type (`NotAuthenticated`, `FileFault`, `NoPermission` …). */
export class VimFault extends Error {
  override readonly name = "VimFault";
  readonly fault: string;
  /** For `NoPermission`: the privilege that is lacking. */
  readonly privilegeId: string | undefined;

  constructor(fault: string, text: string, detail?: unknown) {
    super(text === "" ? fault : `${fault}: ${oneLine(text)}`);
    this.fault = fault;
    this.privilegeId = optionalText(detail, "privilegeId");
  }
}

/** Whether it is a fault of one of these types; subtypes are types of their own here. */
export function isVimFault(error: unknown, ...faults: string[]): error is VimFault {
  return error instanceof VimFault && faults.includes(error.fault);
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
  if (!(error instanceof VimFault)) return error;
  const context = { fault: error.fault, privilegeId: error.privilegeId };
  const code = codeOf(error, faultCode);
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

function codeOf(fault: VimFault, otherwise: ErrorCode): ErrorCode {
  if (fault.fault === "NoPermission") return "vsphere-permission";
  return otherwise;
}

/** A fault without detail, such as a proxy's: `ServerFaultCode`, `Client.Version`. */
function faultOfCode(code: string | undefined): string {
  const local = code?.slice(code.indexOf(":") + 1);
  return local ? oneLine(local, 60) : "UnknownFault";
}
