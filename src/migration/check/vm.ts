/** The VM: what it is, its snapshots, who works on it. */
import type { Config } from "../../config.ts";
import { MigratekitError } from "../../errors.ts";
import { isVmLocked } from "../../state/lock/lock.ts";
import type { State } from "../../state/state.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import { formatBytes } from "../../text.ts";
import type { VmDetails } from "../../vmware/vm-details.ts";
import type { VsphereClient } from "../../vmware/vmware.ts";
import { lossText as conversionLossText, convertedError, unendedText } from "../apply/settle.ts";
import { readMarks } from "../cycle/snapshot.ts";
import { cutOverError, deploymentObstacle, lossText } from "../vm/latch.ts";
import { otherRun } from "../vm/mark.ts";
import { fullness, nearlyFull } from "../vm/space.ts";
import {
  obstaclesToRun,
  othersSnapshots,
  type TrackingSettings,
  trackingOf,
  trackingStaysOff,
} from "../vm/suitable.ts";
import { type Finding, ok, problem, warning } from "./finding.ts";

/** The VM as it is: tracking, Tools, what it keeps from a run. */
export function checkVm(
  vm: VmDetails,
  config: TrackingSettings & Pick<Config, "quiesceSnapshot">,
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
  return found;
}

/** Room for a snapshot to grow. @throws MigratekitError `vsphere-…` */
export async function checkSpace(
  client: VsphereClient,
  vm: VmDetails,
  { datastoreFloor }: Pick<Config, "datastoreFloor">,
): Promise<Finding[]> {
  const stores = await client.readDatastores(vm.moref);
  return stores.map((store) => {
    const full = fullness(store, datastoreFloor);
    if (full !== undefined) return problem("vm", full);
    if (store.freeBytes >= 2 * datastoreFloor) {
      return ok("vm", `datastore ${store.name}: ${formatBytes(store.freeBytes)} free`);
    }
    return warning("vm", nearlyFull(store), "Make room on the datastore before a run.");
  });
}

/** Its snapshots: of runs that died, of others, of runs that may be alive elsewhere. */
export async function checkSnapshots(
  client: VsphereClient,
  vm: VmDetails,
  identity: VmIdentity,
  stateDir: string,
  state: State | undefined,
): Promise<Finding[]> {
  const holder = isVmLocked(stateDir, vm.instanceUuid);
  const dead = state?.runs.runsWithLeftoverSnapshots(identity, holder) ?? [];
  const deadRunIds = new Set(dead.map(({ runId }) => runId));
  const marks = await readMarks({ client, vm }, deadRunIds);
  const found = marks.dead.map(({ snapshot: { name, moref } }) =>
    warning(
      "vm",
      `the snapshot ${name} (${moref}) was left by a run that died`,
      "The next run removes it, as does 'migratekit cleanup'.",
    ),
  );
  const others = othersSnapshots(vm);
  if (others.length > 0) {
    const names = others.map((snapshot) => JSON.stringify(snapshot.name)).join(", ");
    found.push(ok("vm", `${others.length} snapshot(s) of others, left alone: ${names}`));
  }
  for (const other of marks.others) {
    found.push(problem("lock", otherRun(vm.name, other)));
  }
  return found;
}

function trackingFindings(vm: VmDetails, settings: TrackingSettings): Finding[] {
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

/** @throws MigratekitError `cut-over`, `deployed` */
export function checkCutOver(
  state: State | undefined,
  identity: VmIdentity,
  reopen: boolean,
): Finding[] {
  const deployed = state && deploymentObstacle(identity, state, reopen);
  if (deployed) throw deployed;
  const cutOver = state?.readCutOver(identity);
  if (cutOver === undefined) return [];
  if (!reopen) throw cutOverError(identity, cutOver);
  return [warning("vm", `with --reopen ${lossText(cutOver)}`, "Leave --reopen out of later runs.")];
}

/** What a conversion left on the targets. @throws MigratekitError `converted` */
export function checkConverted(
  state: State | undefined,
  identity: VmIdentity,
  full: boolean,
): Finding[] {
  const stored = state?.conversions.read(identity);
  if (stored === undefined || stored.phase === "keeping") return [];
  if (full) {
    const remedy =
      "Leave --full (or --reopen) out and go back with 'migratekit rollback' to keep them.";
    return [warning("vm", `in a full copy ${conversionLossText(stored)}`, remedy)];
  }
  if (stored.phase === "converted") throw convertedError(identity, stored);
  const remedy = "Nothing is to be done: the next command on this VM does it first.";
  return [warning("vm", unendedText(stored), remedy)];
}

/** @throws MigratekitError `locked` */
export function checkLock(stateDir: string, vm: VmDetails): Finding[] {
  const holder = isVmLocked(stateDir, vm.instanceUuid);
  if (holder === undefined) return [ok("lock", "no other run works on the VM")];
  const who =
    holder.pid === 0
      ? "a process that has not left its name"
      : `process ${holder.pid} on ${holder.host}, started ${holder.startedAt}`;
  throw new MigratekitError("locked", `another run is working on ${vm.name}: ${who}`, {
    context: { pid: holder.pid, host: holder.host },
  });
}
