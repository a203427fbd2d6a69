/** What the report says of each VM, from its runs. Pure. */
import type { FleetVmStatus, FleetVmSync } from "../../../fleet/status.ts";
import { type DiskFacts, factsOf, type SyncFacts } from "../ending.ts";
import { cutoverOf } from "../fleet.ts";
import type { PlotPoint } from "./plot.ts";

export interface VmFacts {
  readonly vm: FleetVmStatus;
  /** Completed runs of those that are known. */
  readonly syncs: number;
  readonly failed: number;
  /** Data that the target was sent, in all of them. */
  readonly writtenBytes: number;
  /** Of its disks, where a run told it. */
  readonly capacityBytes?: number;
  readonly deltas: readonly PlotPoint[];
  /** Measured in its cutover. */
  readonly downtimeMs?: number;
  readonly instance?: string;
  /** Of each disk the newest that there is. */
  readonly disks: readonly DiskFacts[];
}

export function vmFacts(vm: FleetVmStatus): VmFacts {
  const runs = vm.syncs.map((sync) => ({ sync, facts: factsOf(sync) }));
  const done = runs.filter(({ sync }) => sync.status === "completed");
  const disks = newestDisks(runs);
  const cutover = cutoverOf(vm);
  const sizes = disks.flatMap(({ capacityBytes }) => capacityBytes ?? []);
  return {
    vm,
    syncs: done.length,
    failed: runs.length - done.length,
    writtenBytes: runs.reduce((sum, { facts }) => sum + (facts.writtenBytes ?? 0), 0),
    ...(sizes.length > 0 && { capacityBytes: sizes.reduce((sum, size) => sum + size, 0) }),
    deltas: done.flatMap(({ sync, facts }) =>
      facts.isDelta && facts.plannedBytes !== undefined
        ? [{ atMs: Date.parse(sync.at), bytes: facts.plannedBytes }]
        : [],
    ),
    ...(cutover?.downtimeMs !== undefined && { downtimeMs: cutover.downtimeMs }),
    ...(cutover?.instance !== undefined && { instance: cutover.instance }),
    disks,
  };
}

interface Run {
  readonly sync: FleetVmSync;
  readonly facts: SyncFacts;
}

/** Those of the last run that was completed. What it compared is evidence until a later one may have written. */
function newestDisks(runs: readonly Run[]): DiskFacts[] {
  const at = runs.findLastIndex(
    ({ sync, facts }) => sync.status === "completed" && facts.disks.length > 0,
  );
  const stale = runs.slice(at + 1).some(({ facts }) => mayHaveWritten(facts));
  const disks = runs[at]?.facts.disks ?? [];
  return disks.map(({ verification, ...disk }) =>
    verification === undefined || stale ? disk : { ...disk, verification },
  );
}

function mayHaveWritten({ writtenBytes, zeroedBytes }: SyncFacts): boolean {
  return writtenBytes !== 0 || zeroedBytes !== 0;
}

/** Whether each disk was compared whole in the last run and was equal. */
export function isVerified({ disks }: VmFacts): boolean {
  return disks.length > 0 && disks.every(({ verification }) => verification?.result === "equal");
}
