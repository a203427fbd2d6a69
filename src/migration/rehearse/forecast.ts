/** How long a cutover will keep the machine down, told from what was measured. Pure. */
import type { RunRecord } from "../../state/run-record.ts";

export interface Forecast {
  /** Of the newest sync that brought a delta alone; absent: none was measured yet. */
  readonly last_sync_ms?: number;
  /** What it brought: the last sync's work if the VM goes on so. */
  readonly delta_bytes?: number;
  readonly conversion_ms: number;
  /** From power-on until the guest was up; absent: it was not started, or did not come up. */
  readonly start_ms?: number;
  /** All of them; absent as long as one is missing. The guest's own shutdown comes on top. */
  readonly downtime_ms?: number;
}

/** A sync that copied everything, or went on with another's work, tells nothing of a delta. */
export function forecastDowntime(
  runs: readonly RunRecord[],
  measured: { readonly conversionMs: number; readonly startMs: number | undefined },
): Forecast {
  const delta = runs.find(
    ({ command, status, disks, durationMs }) =>
      command === "migrate" &&
      status === "completed" &&
      durationMs !== undefined &&
      disks.length > 0 &&
      disks.every(({ syncType, resumed }) => syncType === "incremental" && !resumed),
  );
  const { conversionMs, startMs } = measured;
  const lastSyncMs = delta?.durationMs;
  const known = lastSyncMs !== undefined && startMs !== undefined;
  return {
    ...(delta && {
      last_sync_ms: Math.round(delta.durationMs!),
      delta_bytes: delta.disks.reduce((sum, disk) => sum + disk.plannedBytes, 0),
    }),
    conversion_ms: Math.round(conversionMs),
    ...(startMs !== undefined && { start_ms: Math.round(startMs) }),
    ...(known && { downtime_ms: Math.round(lastSyncMs + conversionMs + startMs) }),
  };
}
