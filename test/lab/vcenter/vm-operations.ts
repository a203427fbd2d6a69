/** Operations on machines and snapshots, except the change query. */

import { faultNumber } from "./fault-board.ts";
import { requirePrivilege } from "./inventory-operations.ts";
import type { CallContext, Operation } from "./lab-core.ts";
import type { LabVm } from "./lab-vm.ts";
import { isManagedSubtype } from "./schema.ts";
import type { TaskWork } from "./tasks.ts";
import { invalidPowerState, noPermission, objectNotFound, VimFault } from "./vim-fault.ts";
import { Moref, type VimObject } from "./vim-values.ts";

/** The machine the call is about; faults as vCenter when it is gone. */
export function vmOf(call: CallContext): LabVm {
  const vm = call.lab.inventory.vmByMoref(call.self.value);
  if (!vm || call.self.type !== "VirtualMachine") throw objectNotFound(call.self);
  return vm;
}

function vmOfSnapshot(call: CallContext): LabVm {
  const vm = call.lab.inventory.vmOfSnapshot(call.self.value);
  if (!vm || call.self.type !== "VirtualMachineSnapshot") throw objectNotFound(call.self);
  return vm;
}

type WorkOptions = Pick<TaskWork, "run"> & Partial<Pick<TaskWork, "durationMs" | "cancelable">>;

function startTask(call: CallContext, vm: LabVm, kind: string, options: WorkOptions): Moref {
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
      if (changeTrackingEnabled === true && !vm.changeTrackingSupported) {
        throw new VimFault("NotSupported", "The operation is not supported on the object.");
      }
      // Takes effect per disk at the next stun, as on a real host.
      vm.set({ changeTrackingEnabled: changeTrackingEnabled === true });
      return undefined;
    },
  });
}

function createSnapshot(call: CallContext): Moref {
  const vm = vmOf(call);
  const { lab } = call;
  requirePrivilege(call, call.self, "VirtualMachine.State.CreateSnapshot");
  const { name, description, quiesce } = call.parameters;
  const incompatible = vm.disks.find((disk) => disk.record.backing === "rdmPhysical");
  const shared = Object.values(vm.record.sharedBuses).some((sharing) => sharing !== "noSharing");
  return startTask(call, vm, "VirtualMachine", {
    durationMs: lab.settings.snapshotMs,
    cancelable: true,
    run: async () => {
      if (incompatible || shared) throw snapshotIncompatible(incompatible?.record.label);
      const failed = lab.faults.take("snapshotFails", { vm: vm.name });
      if (failed) throw genericFault(failed.value, "An error occurred while saving the snapshot.");
      const canQuiesce = vm.record.tools === "running" && vm.record.powerState === "poweredOn";
      const wantsQuiesce = quiesce === true;
      const quiesceFault = wantsQuiesce && lab.faults.take("quiesceFault", { vm: vm.name });
      if (quiesceFault) {
        throw new VimFault(
          String(quiesceFault.value ?? "ApplicationQuiesceFault"),
          "An error occurred while quiescing the virtual machine. See the virtual machine's event log for details.",
        );
      }
      const snapshot = await vm.createSnapshot({
        name: String(name),
        description: String(description ?? ""),
        quiesced: wantsQuiesce && canQuiesce,
      });
      await lab.pruneFrozen();
      return new Moref("VirtualMachineSnapshot", snapshot.moref);
    },
  });
}

function removeSnapshot(call: CallContext): Moref {
  const vm = vmOfSnapshot(call);
  requirePrivilege(
    call,
    new Moref("VirtualMachine", vm.moref),
    "VirtualMachine.State.RemoveSnapshot",
  );
  const { removeChildren, consolidate } = call.parameters;
  return startTask(call, vm, "vim.vm.Snapshot", {
    run: async () => {
      if (!vm.snapshot(call.self.value)) throw objectNotFound(call.self);
      const failed = call.lab.faults.take("removeFails", { vm: vm.name });
      if (failed) throw genericFault(failed.value, "Unable to access file since it is locked");
      vm.removeSnapshot(call.self.value, { removeChildren: removeChildren === true });
      const left = call.lab.faults.take("consolidationNeeded", { vm: vm.name });
      if (left || consolidate === false) vm.set({ consolidationNeeded: true });
      return undefined;
    },
  });
}

function removeAllSnapshots(call: CallContext): Moref {
  const vm = vmOf(call);
  requirePrivilege(call, call.self, "VirtualMachine.State.RemoveSnapshot");
  return startTask(call, vm, "VirtualMachine", {
    run: async () => {
      for (const snapshot of [...vm.snapshots]) vm.removeSnapshot(snapshot.moref);
      return undefined;
    },
  });
}

function revertToSnapshot(call: CallContext): Moref {
  const vm = vmOfSnapshot(call);
  requirePrivilege(
    call,
    new Moref("VirtualMachine", vm.moref),
    "VirtualMachine.State.RevertToSnapshot",
  );
  return startTask(call, vm, "vim.vm.Snapshot", {
    run: async () => {
      await vm.revertTo(call.self.value);
      return undefined;
    },
  });
}

function consolidate(call: CallContext): Moref {
  const vm = vmOf(call);
  requirePrivilege(call, call.self, "VirtualMachine.State.RemoveSnapshot");
  return startTask(call, vm, "VirtualMachine", {
    run: async () => {
      vm.set({ consolidationNeeded: false });
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
    throw new VimFault("NotSupported", "The operation is not supported on the object.");
  }
  call.lab.tasks.cancel(task);
  return undefined;
}

function renameSnapshot(call: CallContext): undefined {
  const vm = vmOfSnapshot(call);
  requirePrivilege(
    call,
    new Moref("VirtualMachine", vm.moref),
    "VirtualMachine.State.RenameSnapshot",
  );
  const { name, description } = call.parameters;
  vm.renameSnapshot(call.self.value, {
    ...(name !== undefined && { name: String(name) }),
    ...(description !== undefined && { description: String(description) }),
  });
  return undefined;
}

export function snapshotIncompatible(label: string | undefined): VimFault {
  const inner = new VimFault(
    "GenericVmConfigFault",
    `Device '${label ?? "SCSI controller"}' does not support snapshots.`,
    { reason: "incompatible device" },
  );
  return new VimFault(
    "SnapshotIncompatibleDeviceInVm",
    "The virtual machine has devices that do not support snapshots.",
    { fault: inner.localized() },
  );
}

function genericFault(value: string | number | undefined, fallback: string): VimFault {
  const reason = value === undefined ? fallback : String(value);
  return new VimFault("GenericVmConfigFault", reason, { reason });
}

/** Whether a method may be called on an object of this type. */
export function isReceiver(method: string, type: string): boolean {
  if (method === "CancelTask") return type === "Task";
  if (["RemoveSnapshot_Task", "RevertToSnapshot_Task", "RenameSnapshot"].includes(method)) {
    return type === "VirtualMachineSnapshot";
  }
  return !(method in vmOperations) || isManagedSubtype(type, "VirtualMachine");
}

export const vmOperations: Readonly<Record<string, Operation>> = {
  ReconfigVM_Task: reconfigure,
  CreateSnapshot_Task: createSnapshot,
  RemoveSnapshot_Task: removeSnapshot,
  RemoveAllSnapshots_Task: removeAllSnapshots,
  RevertToSnapshot_Task: revertToSnapshot,
  ConsolidateVMDisks_Task: consolidate,
  PowerOnVM_Task: (call) => powerTask(call, "poweredOn"),
  PowerOffVM_Task: (call) => powerTask(call, "poweredOff"),
  ShutdownGuest: shutdownGuest,
  CancelTask: cancelTask,
  RenameSnapshot: renameSnapshot,
};
