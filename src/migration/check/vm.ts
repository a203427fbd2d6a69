/** Who works on the VM, or worked on it: snapshots of runs, its lock, a cutover or conversion behind it. */
import { MigratekitError } from "../../errors.ts";
import { isVmLocked } from "../../state/lock/lock.ts";
import type { State } from "../../state/state.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import type { VmDetails } from "../../vmware/vm-details.ts";
import type { VsphereClient } from "../../vmware/vmware.ts";
import { lossText as conversionLossText, convertedError, unendedText } from "../apply/settle.ts";
import { readMarks } from "../cycle/snapshot.ts";
import { cutOverError, deploymentObstacle, lossText } from "../vm/latch.ts";
import { otherRun } from "../vm/mark.ts";
import { type Finding, ok, problem, warning } from "./finding.ts";

/** Its snapshots that runs made: of those that died, and of those that may be alive elsewhere. */
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
  for (const other of marks.others) {
    found.push(problem("lock", otherRun(vm.name, other)));
  }
  return found;
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
