/** What whoever looks at a fleet concludes from its status: trouble, trends, how long a cutover will take. Pure. */
import type { FleetVmState, FleetVmStatus, FleetWaveStatus } from "../../fleet/status.ts";
import { factsOf } from "./ending.ts";

/** States in which nothing goes on before an operator has seen to it. */
const troubled: readonly FleetVmState[] = ["failed", "takeover"];

/** Whether an operator should look: it stands still, or fails again and again. */
export function isTrouble({ state, failures }: FleetVmStatus): boolean {
  return troubled.includes(state) || (failures > 0 && state !== "cut-over");
}

export interface FleetTotals {
  readonly vms: number;
  readonly inSync: number;
  readonly cutOver: number;
  readonly failed: number;
  readonly running: number;
}

export function totalsOf(waves: readonly FleetWaveStatus[]): FleetTotals {
  const sum = (of: (wave: FleetWaveStatus) => number) =>
    waves.reduce((total, wave) => total + of(wave), 0);
  return {
    vms: sum(({ vmCount }) => vmCount),
    inSync: sum(({ inSync }) => inSync),
    cutOver: sum(({ cutOver }) => cutOver),
    failed: sum(({ failed }) => failed),
    running: sum(({ running }) => running),
  };
}

/** Bytes that syncs found changed, the oldest first; full copies and cutovers are none of them. */
export function deltasOf({ syncs }: FleetVmStatus): number[] {
  return syncs.flatMap((sync) => {
    if (sync.status !== "completed") return [];
    const { isDelta, plannedBytes } = factsOf(sync);
    return isDelta && plannedBytes !== undefined ? [plannedBytes] : [];
  });
}

/** What cutovers of this fleet took besides their last sync: shutdown, conversion, start. */
export interface Experience {
  /** Cutovers that it was measured in. */
  readonly cutovers: number;
  /** The median. */
  readonly besidesSyncMs: number;
}

export function experienceOf(vms: readonly FleetVmStatus[]): Experience | undefined {
  const measured = vms.flatMap((vm) => cutoverOf(vm)?.besidesSyncMs ?? []).sort((a, b) => a - b);
  const median = measured[Math.floor(measured.length / 2)];
  return median === undefined
    ? undefined
    : { cutovers: measured.length, besidesSyncMs: Math.round(median) };
}

export interface Downtime {
  /** That of the newest sync that brought a delta alone: what the last one will take if the VM goes on so. */
  readonly lastSyncMs: number;
  /** With what other cutovers took besides; absent as long as none was measured. */
  readonly allMs?: number;
}

/** How long a cutover will keep the VM down; undefined: no delta was measured yet, or it is cut over. */
export function predictDowntime(
  { syncs, state }: FleetVmStatus,
  experience: Experience | undefined,
): Downtime | undefined {
  if (state === "cut-over") return undefined;
  const delta = syncs.findLast((sync) => sync.status === "completed" && factsOf(sync).isDelta);
  if (delta === undefined) return undefined;
  const lastSyncMs = Math.round(delta.durationMs);
  if (experience === undefined) return { lastSyncMs };
  return { lastSyncMs, allMs: lastSyncMs + experience.besidesSyncMs };
}

/** The facts of the cutover that was completed. */
export function cutoverOf({ syncs }: FleetVmStatus) {
  const done = syncs.findLast(
    ({ action, status }) => action === "cutover" && status === "completed",
  );
  return done && factsOf(done);
}
