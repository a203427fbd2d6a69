/** Faults: thrown by operations, sent as SOAP faults, kept in task results and missing sets. */

import { Moref, type VimObject, type VimValue, vimObject } from "./vim-values.ts";
import type { PowerState } from "./vm-spec.ts";

export class VimFault extends Error {
  /** Data object of the fault, for example a `NotAuthenticated`. */
  readonly fault: VimObject;

  constructor(
    type: string,
    message: string,
    fields: Readonly<Record<string, VimValue | undefined>> = {},
  ) {
    super(message);
    this.name = "VimFault";
    this.fault = vimObject(type, fields);
  }

  /** As tasks and missing sets carry it. */
  localized(): VimObject {
    return vimObject("LocalizedMethodFault", { fault: this.fault, localizedMessage: this.message });
  }
}

export function notAuthenticated(object: Moref): VimFault {
  return new VimFault("NotAuthenticated", "The session is not authenticated.", {
    object,
    privilegeId: "System.View",
  });
}

export function noPermission(object: Moref, privilegeId: string): VimFault {
  return new VimFault("NoPermission", "Permission to perform this operation was denied.", {
    object,
    privilegeId,
  });
}

export function objectNotFound(obj: Moref): VimFault {
  return new VimFault(
    "ManagedObjectNotFound",
    `The object '${vmodlName(obj.type)}:${obj.value}' has already been deleted or has not been completely created`,
    { obj },
  );
}

export function invalidArgument(property: string): VimFault {
  return new VimFault("InvalidArgument", `A specified parameter was not correct: ${property}`, {
    invalidProperty: property,
  });
}

export function invalidRequest(reason: string): VimFault {
  return new VimFault("InvalidRequest", reason);
}

export function fileFault(file: string): VimFault {
  return new VimFault("FileFault", `Error caused by file ${file}`, { file });
}

export function invalidPowerState(
  requestedState: PowerState | undefined,
  existingState: PowerState,
): VimFault {
  const existing = { poweredOn: "Powered on", poweredOff: "Powered off", suspended: "Suspended" };
  return new VimFault(
    "InvalidPowerState",
    `The attempted operation cannot be performed in the current state (${existing[existingState]}).`,
    { requestedState, existingState },
  );
}

export function hostNotConnected(): VimFault {
  return new VimFault(
    "HostNotConnected",
    "Unable to communicate with the remote host, since it is disconnected.",
  );
}

export function notSupported(): VimFault {
  return new VimFault("NotSupported", "The operation is not supported on the object.");
}

/** A fault that a test asked for; `task` is the one in progress, where a fault names it. */
export function requestedFault(
  fault: { readonly type: string; readonly text: string } | undefined,
  task: string | undefined,
): VimFault {
  const { type, text } = fault ?? { type: "SystemError", text: "A general system error occurred" };
  const fields: Record<string, Record<string, VimValue>> = {
    TaskInProgress: { task: new Moref("Task", task ?? "task-0") },
    SystemError: { reason: text },
    FileFault: { file: "[datastore1] disk-ctk.vmdk" },
    GenericVmConfigFault: { reason: text },
    ManagedObjectNotFound: { obj: new Moref("VirtualMachine", "vm-0") },
  };
  return new VimFault(type, text, fields[type]);
}

function vmodlName(type: string): string {
  if (type === "VirtualMachineSnapshot") return "vim.vm.Snapshot";
  return `vim.${type}`;
}
