/** From a request's body to the answer's: which operation, who may call it, and what goes to the log. */

import { changeOperations } from "./changed-areas.ts";
import { collectorOperations } from "./collector-operations.ts";
import { managerRef } from "./inventory-names.ts";
import { inventoryOperations } from "./inventory-operations.ts";
import type { CallContext, LabCore, Operation } from "./lab-core.ts";
import { sessionOperations } from "./session-operations.ts";
import type { Session } from "./sessions.ts";
import { ownSnapshotOperations, snapshotOperations } from "./snapshot-operations.ts";
import { type SoapCall, writeAnswer, writeFault } from "./soap-envelope.ts";
import { notAuthenticated, objectNotFound, requestedFault, VimFault } from "./vim-fault.ts";
import { taskOperations, vmOperations } from "./vm-operations.ts";

/** Operations by the type that has them; those of managers are told apart by name alone. */
const byReceiver: Readonly<Record<string, Readonly<Record<string, Operation>>>> = {
  VirtualMachine: { ...vmOperations, ...snapshotOperations, ...changeOperations },
  VirtualMachineSnapshot: ownSnapshotOperations,
  Task: taskOperations,
};
const ofManagers: Readonly<Record<string, Operation>> = {
  ...sessionOperations,
  ...inventoryOperations,
  ...collectorOperations,
};
const known = new Set([ofManagers, ...Object.values(byReceiver)].flatMap(Object.keys));

/**
 * Callable without a session. Properties can be asked for, but are then reported missing, each with
 * NotAuthenticated: so does vCenter (govmomi's simulator and pyVmomi both know it that way).
 */
const anonymousMethods = new Set([
  "RetrieveServiceContent",
  "Login",
  "RetrieveProperties",
  "RetrievePropertiesEx",
]);

const singletons = new Set([
  "SessionManager",
  "ViewManager",
  "SearchIndex",
  "AuthorizationManager",
  "LicenseManager",
]);

export interface Answer {
  status: 200 | 500;
  body: string;
  /** `ok` or the type of the fault. */
  outcome: string;
  /** The session after the call: a Login makes one, a Logout ends it. */
  session: Session | undefined;
}

export async function carryOut(
  lab: LabCore,
  soapCall: SoapCall,
  session: Session | undefined,
  signal: AbortSignal,
): Promise<Answer> {
  const { method, self, parameters } = soapCall;
  const call: CallContext = { lab, method: method.name, self, parameters, session, signal };
  try {
    const operation = operationFor(call);
    failIfAskedTo(call);
    const value = await operation(call);
    const body = writeAnswer(method, value);
    return { status: 200, body, outcome: "ok", session: call.session };
  } catch (error) {
    const fault = error instanceof VimFault ? error : systemError(error);
    return {
      status: 500,
      body: writeFault(fault),
      outcome: fault.fault.$type,
      session: call.session,
    };
  }
}

function failIfAskedTo({ lab, method, self }: CallContext): void {
  const vm = lab.inventory.vmByMoref(self.value) ?? lab.inventory.vmOfSnapshot(self.value);
  const struck = lab.faults.take("callFault", { method, vm: vm?.name });
  if (!struck) return;
  const running = vm?.recentTasks.findLast((task) => lab.tasks.find(task)?.state === "running");
  throw requestedFault(struck.fault, running);
}

function operationFor(call: CallContext): Operation {
  const { lab, method, self, session } = call;
  if (!known.has(method)) {
    throw new VimFault("NotSupported", `The lab's vCenter does not implement ${method}.`);
  }
  if (!session && !anonymousMethods.has(method)) throw notAuthenticated(self);
  const operation = (byReceiver[self.type] ?? ofManagers)[method];
  if (!operation) {
    throw new VimFault("MethodNotFound", `${self} has no method ${method}.`, {
      receiver: self,
      method,
    });
  }
  const isWrongSingleton =
    singletons.has(self.type) && managerRef(self.type, lab.inventory.apiType).value !== self.value;
  if (isWrongSingleton) throw objectNotFound(self);
  return operation;
}

/** A bug of the lab: it must be seen, so it goes to stderr too. */
function systemError(error: unknown): VimFault {
  console.error("The lab's vCenter failed:", error);
  return new VimFault("SystemError", `A general system error occurred: ${error}`, {
    reason: String(error),
  });
}
