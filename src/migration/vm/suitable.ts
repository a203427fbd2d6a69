/** What a VM must be for a run to begin, and whether its disks will be tracked. */
import { MigratekitError } from "../../errors.ts";
import type { VmDetails } from "../../vmware/vm-details.ts";

/** Why no run can be made of this VM; nothing of it has been touched by then. */
export function obstaclesToRun(vm: VmDetails): MigratekitError[] {
  const found: MigratekitError[] = [];
  if (vm.template) {
    found.push(
      new MigratekitError("vm-unsuitable", `${vm.name} is a template`, {
        remedy: "Convert it to a virtual machine, or deploy one from it.",
      }),
    );
  }
  if (vm.connectionState !== "connected") {
    const { name, connectionState } = vm.host;
    const host = `its ESXi host ${name}`;
    const hostIsAway = connectionState !== "" && connectionState !== "connected";
    found.push(
      new MigratekitError(
        "vm-unsuitable",
        `${vm.name} is ${vm.connectionState}` +
          (hostIsAway ? `: ${host} is ${connectionState}` : ""),
        {
          remedy: hostIsAway
            ? `Connect the host ${name} to the vCenter again, or give the host itself as --vmware-endpoint.`
            : "Make the VM's host and datastore accessible, or register the VM again.",
        },
      ),
    );
  }
  return found;
}

/**
 * `off`: a run turns it on. `suspended`: it is off, and vSphere changes no suspended VM, so the run
 * copies without it.
 */
export type Tracking = "on" | "off" | "unsupported" | "suspended";

/** What a run can expect of change tracking, from the VM's settings before its snapshot. */
export function trackingOf(vm: VmDetails): Tracking {
  if (!vm.changeTrackingSupported) return "unsupported";
  if (vm.changeTrackingEnabled) return "on";
  return vm.powerState === "suspended" ? "suspended" : "off";
}

/** Whether the snapshot of a run is to hold change IDs. */
export function willBeTracked(vm: VmDetails): boolean {
  return ["on", "off"].includes(trackingOf(vm));
}
