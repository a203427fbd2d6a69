/** What a VM must be for a run to begin, and whether its disks will be tracked. */
import type { Config } from "../../config.ts";
import { MigratekitError } from "../../errors.ts";
import { flatten, type SnapshotNode } from "../../vmware/snapshots.ts";
import type { VmFacts } from "../../vmware/vm-facts.ts";
import { markOf } from "./mark.ts";

/** Why no run can be made of this VM; nothing of it has been touched by then. */
export function obstaclesToRun(vm: VmFacts): MigratekitError[] {
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
 * `off`: a run turns it on. `suspended`: it is off, and vSphere changes no suspended VM; `snapshots`: it
 * is off, and vSphere supports turning it on only where the VM has no snapshots: later answers may leave
 * changes out without an error (field notes, 34). In both cases a run copies without it.
 */
export type Tracking = "on" | "off" | "unsupported" | "suspended" | "snapshots";

export type TrackingSettings = Pick<Config, "allowTrackingOverSnapshots">;

/** What a run can expect of change tracking, from the VM's settings before its snapshot. */
export function trackingOf(vm: VmFacts, settings: TrackingSettings): Tracking {
  if (!vm.changeTrackingSupported) return "unsupported";
  if (vm.changeTrackingEnabled) return "on";
  if (vm.powerState === "suspended") return "suspended";
  const over = othersSnapshots(vm).length > 0 && !settings.allowTrackingOverSnapshots;
  return over ? "snapshots" : "off";
}

/** Whether the snapshot of a run is to hold change IDs. */
export function willBeTracked(vm: VmFacts, settings: TrackingSettings): boolean {
  return ["on", "off"].includes(trackingOf(vm, settings));
}

/** Why tracking is not turned on over the VM's snapshots. */
export function trackingStaysOff(vm: VmFacts): string {
  const names = othersSnapshots(vm).map(({ name }) => JSON.stringify(name));
  return (
    `changed block tracking is off and stays off, as the VM has snapshots (${names.join(", ")}): turned ` +
    "on over them it may miss changes; every run copies all"
  );
}

/** Every snapshot that no run of migratekit made. */
export function othersSnapshots(vm: VmFacts): SnapshotNode[] {
  return flatten(vm.snapshots).filter((snapshot) => markOf(snapshot) === undefined);
}
