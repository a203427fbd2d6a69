/**
 * What can be judged of a VM by what vSphere tells of it alone, without a target, an opened disk or a login
 * anywhere else: for `check` of one, and for an inventory of thousands.
 */
import type { Config } from "../../../config.ts";
import { MigratekitError } from "../../../errors.ts";
import { refuseUnsupported } from "../../../guest/guest.ts";
import type { GuestHardware } from "../../../guest-hardware.ts";
import { formatBytes } from "../../../text.ts";
import type { Datastore } from "../../../vmware/datastores.ts";
import type { HostDetails, VmFacts } from "../../../vmware/vm-facts.ts";
import type { About } from "../../../vmware/wire/service-content.ts";
import { hostVersionTrouble } from "../../versions.ts";
import { fullness, nearlyFull } from "../../vm/space.ts";
import {
  obstaclesToRun,
  othersSnapshots,
  type TrackingSettings,
  trackingOf,
  trackingStaysOff,
} from "../../vm/suitable.ts";
import { type Finding, ok, problem, tried, warning } from "../finding.ts";
import { checkDisks, checkSkipped } from "./disks.ts";

/** The VM as it is: what keeps it from a run, its tracking, Tools, snapshots and disks. */
export function judgeVm(
  vm: VmFacts,
  config: TrackingSettings & Pick<Config, "quiesceSnapshot">,
  skip: readonly number[],
): Finding[] {
  const { name, moref, hardwareVersion, powerState, host } = vm;
  const found = [
    ok(
      "vm",
      `${name} (${moref}): ${powerState}, hardware version ${hardwareVersion}, ` +
        `${vm.disks.length} disk(s), on host ${host.name || "unknown"}`,
    ),
    ...trackingFindings(vm, config),
    ...obstaclesToRun(vm).map((obstacle) => problem("vm", obstacle)),
  ];
  const warn = (message: string, remedy: string) => found.push(warning("vm", message, remedy));
  if (config.quiesceSnapshot && powerState === "poweredOn" && !vm.toolsRunning) {
    warn(
      "VMware Tools do not run in the guest: snapshots are crash-consistent only",
      "Start VMware Tools, or say --no-quiesce-snapshot.",
    );
  }
  if (vm.encrypted) {
    warn(
      "the VM is encrypted: the target will hold its content in the clear",
      "Make sure that the target volume is protected; the account needs Cryptographer.Access.",
    );
  }
  if (vm.consolidationNeeded) {
    warn(
      "vSphere says that its disks need consolidation",
      "Consolidate them in the vSphere client.",
    );
  }
  const others = othersSnapshots(vm);
  if (others.length > 0) {
    const names = others.map((snapshot) => JSON.stringify(snapshot.name)).join(", ");
    found.push(ok("vm", `${others.length} snapshot(s) of others, left alone: ${names}`));
  }
  return [...found, ...checkSkipped(vm, skip), ...checkDisks(vm, skip)];
}

function trackingFindings(vm: VmFacts, settings: TrackingSettings): Finding[] {
  switch (trackingOf(vm, settings)) {
    case "on":
      return [ok("vm", "changed block tracking is on")];
    case "unsupported":
      return [
        warning(
          "vm",
          `it cannot track changed blocks (hardware version ${vm.hardwareVersion}): every run copies all`,
          "Upgrade its virtual hardware to version 7 or newer.",
        ),
      ];
    case "suspended":
      return [
        warning(
          "vm",
          "it is suspended, so changed block tracking, which is off, cannot be turned on: every run copies all",
          "Resume it or power it off.",
        ),
      ];
    case "snapshots":
      return [
        warning(
          "vm",
          trackingStaysOff(vm),
          "Remove the VM's snapshots before the first run, so that later runs copy only what changed.",
        ),
      ];
    case "off":
      return [ok("vm", "changed block tracking is off; the run turns it on")];
  }
}

/** Room for a snapshot to grow. */
export function judgeSpace(
  stores: readonly Datastore[],
  { datastoreFloor }: Pick<Config, "datastoreFloor">,
): Finding[] {
  return stores.map((store) => {
    const full = fullness(store, datastoreFloor);
    if (full !== undefined) return problem("vm", full);
    if (store.freeBytes >= 2 * datastoreFloor) {
      return ok("vm", `datastore ${store.name}: ${formatBytes(store.freeBytes)} free`);
    }
    return warning("vm", nearlyFull(store), "Make room on the datastore before a run.");
  });
}

/** `vddk` is the library's major version, undefined where it is not known. */
export function judgeVersions(
  about: About,
  host: HostDetails,
  vddk: string | undefined,
): Finding[] {
  const trouble = hostVersionTrouble(about, host, vddk);
  if (trouble === undefined) return [];
  if (trouble instanceof MigratekitError) return [problem("host", trouble)];
  return [warning("host", trouble.message, trouble.remedy)];
}

/** With --convert: whether there is a conversion for such a guest at all. */
export function judgeGuest(
  { hardware }: { readonly hardware: Pick<GuestHardware, "name" | "guestId"> },
  { convert }: Pick<Config, "convert">,
): Finding[] {
  return tried("guest", () => {
    if (convert) refuseUnsupported(hardware);
    return [];
  });
}
