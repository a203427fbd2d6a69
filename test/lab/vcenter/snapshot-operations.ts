/** Snapshots: made, removed, reverted to, renamed. */

import { requirePrivilege } from "./inventory-operations.ts";
import type { CallContext, Operation } from "./lab-core.ts";
import type { LabVm } from "./lab-vm.ts";
import { notSupported, objectNotFound, VimFault } from "./vim-fault.ts";
import { Moref } from "./vim-values.ts";
import { startTask, vmOf } from "./vm-operations.ts";

function vmOfSnapshot(call: CallContext): LabVm {
  const vm = call.lab.inventory.vmOfSnapshot(call.self.value);
  if (!vm || call.self.type !== "VirtualMachineSnapshot") throw objectNotFound(call.self);
  return vm;
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
      if (vm.record.template) throw notSupported();
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
      const left = call.lab.faults.take("consolidationNeeded", { vm: vm.name });
      vm.removeSnapshot(call.self.value, {
        removeChildren: removeChildren === true,
        merge: !left && consolidate !== false,
      });
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
      await vm.consolidate();
      return undefined;
    },
  });
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

function snapshotIncompatible(label: string | undefined): VimFault {
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

/** On machines. */
export const snapshotOperations: Readonly<Record<string, Operation>> = {
  CreateSnapshot_Task: createSnapshot,
  RemoveAllSnapshots_Task: removeAllSnapshots,
  ConsolidateVMDisks_Task: consolidate,
};

/** On snapshots. */
export const ownSnapshotOperations: Readonly<Record<string, Operation>> = {
  RemoveSnapshot_Task: removeSnapshot,
  RevertToSnapshot_Task: revertToSnapshot,
  RenameSnapshot: renameSnapshot,
};
