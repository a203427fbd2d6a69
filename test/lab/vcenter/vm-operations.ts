/** Operations on machines and tasks; snapshots and the change query have files of their own. */

import { faultNumber } from "./fault-board.ts";
import { requirePrivilege } from "./inventory-operations.ts";
import type { CallContext, Operation } from "./lab-core.ts";
import type { LabVm } from "./lab-vm.ts";
import type { TaskWork } from "./tasks.ts";
import {
  hostNotConnected,
  invalidPowerState,
  noPermission,
  notSupported,
  objectNotFound,
  VimFault,
} from "./vim-fault.ts";
import type { Moref, VimObject } from "./vim-values.ts";

/** The machine the call is about; faults as vCenter when it is gone. */
export function vmOf(call: CallContext): LabVm {
  const vm = call.lab.inventory.vmByMoref(call.self.value);
  if (!vm || call.self.type !== "VirtualMachine") throw objectNotFound(call.self);
  return vm;
}

type WorkOptions = Pick<TaskWork, "run"> & Partial<Pick<TaskWork, "durationMs" | "cancelable">>;

export function startTask(call: CallContext, vm: LabVm, kind: string, options: WorkOptions): Moref {
  if (!call.lab.inventory.isConnected(vm.record)) throw hostNotConnected();
  const name = call.method.replace(/_Task$/, "");
  return call.lab.tasks.start({
    name,
    descriptionId: `${kind}.${name[0]!.toLowerCase()}${name.slice(1)}`,
    vm,
    user: call.session?.user.username ?? "",
    durationMs: call.lab.settings.taskMs,
    ...options,
  });
}

function reconfigure(call: CallContext): Moref {
  const vm = vmOf(call);
  const { $type: _, ...spec } = call.parameters.spec as VimObject;
  const { changeTrackingEnabled, ...unsupported } = spec;
  requirePrivilege(call, call.self, "VirtualMachine.Config.ChangeTracking");
  const other = Object.keys(unsupported)[0];
  if (other) {
    throw new VimFault("NotSupported", `The lab cannot reconfigure ${other}.`);
  }
  return startTask(call, vm, "VirtualMachine", {
    run: async () => {
      if (changeTrackingEnabled === undefined) return undefined;
      if (vm.record.template) throw notSupported();
      if (vm.record.powerState === "suspended") throw invalidPowerState(undefined, "suspended");
      if (changeTrackingEnabled === true && !vm.changeTrackingSupported) throw notSupported();
      // Takes effect per disk at the next stun, as on a real host.
      vm.set({ changeTrackingEnabled: changeTrackingEnabled === true });
      return undefined;
    },
  });
}

function powerTask(call: CallContext, wanted: "poweredOn" | "poweredOff"): Moref {
  const vm = vmOf(call);
  const privilege = wanted === "poweredOn" ? "PowerOn" : "PowerOff";
  requirePrivilege(call, call.self, `VirtualMachine.Interact.${privilege}`);
  return startTask(call, vm, "VirtualMachine", {
    run: async () => {
      if (vm.record.powerState === wanted) {
        throw invalidPowerState(
          wanted === "poweredOn" ? "poweredOff" : "poweredOn",
          vm.record.powerState,
        );
      }
      await vm.guest.stop();
      vm.setPowerState(wanted);
      return undefined;
    },
  });
}

/** Tools take the request and the guest does what it likes: this returns at once. */
function shutdownGuest(call: CallContext): undefined {
  const vm = vmOf(call);
  const { faults } = call.lab;
  requirePrivilege(call, call.self, "VirtualMachine.Interact.PowerOff");
  if (vm.record.powerState !== "poweredOn") {
    throw invalidPowerState("poweredOn", vm.record.powerState);
  }
  if (vm.record.tools !== "running") {
    throw new VimFault(
      "ToolsUnavailable",
      "Cannot complete operation because VMware Tools is not running in this virtual machine.",
    );
  }
  const { ignores, afterMs } = vm.record.guestShutdown;
  if (faults.take("guestIgnoresShutdown", { vm: vm.name }) || ignores) return undefined;
  const slow = faults.take("slowGuestShutdown", { vm: vm.name });
  const delayMs = faultNumber(slow, afterMs ?? 100);
  setTimeout(() => {
    if (vm.record.powerState !== "poweredOn") return;
    void vm.guest.stop().then(() => vm.setPowerState("poweredOff"));
  }, delayMs).unref();
  return undefined;
}

function cancelTask(call: CallContext): undefined {
  const task = call.lab.tasks.find(call.self.value);
  if (!task) throw objectNotFound(call.self);
  if (call.session?.user.username !== task.work.user) {
    throw noPermission(call.self, "Global.CancelTask");
  }
  if (!task.work.cancelable) {
    throw notSupported();
  }
  call.lab.tasks.cancel(task);
  return undefined;
}

export const vmOperations: Readonly<Record<string, Operation>> = {
  ReconfigVM_Task: reconfigure,
  PowerOnVM_Task: (call) => powerTask(call, "poweredOn"),
  PowerOffVM_Task: (call) => powerTask(call, "poweredOff"),
  ShutdownGuest: shutdownGuest,
};

export const taskOperations: Readonly<Record<string, Operation>> = { CancelTask: cancelTask };
