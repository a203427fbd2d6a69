import type { PlannedVm } from "../fleet.ts";
import type { FleetPlaceStatus, FleetVmState, FleetWorkerStatus } from "../status.ts";
import type { Row } from "./row.ts";

/** What a VM may wait for, apart from what stands in its row. */
export interface Reasons {
  readonly now: Date;
  /** Those that live. */
  readonly workers: readonly FleetWorkerStatus[];
  readonly places: ReadonlyMap<number, FleetPlaceStatus>;
  /** After a lease's end, until another takes over. */
  readonly waitMs: number;
  readonly dropIsKnown: boolean;
  /** Before that nothing is given out. */
  readonly claimsFrom: Date | undefined;
}

/** What a VM waits for, in words; undefined where its state says it all. */
export function whyOf(
  row: Row,
  state: FleetVmState,
  entry: PlannedVm,
  reasons: Reasons,
): string | undefined {
  if (state === "paused")
    return row.flag("wave_paused") ? `wave ${entry.wave} is paused` : undefined;
  if (state === "takeover") return whyNotTakenOver(row, reasons);
  if (state === "due") return whyNotTaken(row, entry, reasons);
  if (state === "blocked") return `its cutover comes after that of ${entry.after.join(", ")}`;
  if (state === "waiting") return whyNotDue(row);
  return undefined;
}

function whyNotTakenOver(row: Row, { waitMs, dropIsKnown }: Reasons): string {
  const gone = `the worker ${row.text("worker")} is not heard of any more`;
  if (!dropIsKnown && row.optionalFlag("word_given") !== true) {
    return `${gone}; when nothing of it can reach the target any more, say so with 'fleet resume --takeover'`;
  }
  const from = new Date(row.time("expires_at").getTime() + waitMs).toISOString();
  return `${gone}; another takes over from ${from} on`;
}

function whyNotTaken(row: Row, { labels }: PlannedVm, reasons: Reasons): string {
  const { now, workers, places, claimsFrom } = reasons;
  if (claimsFrom !== undefined && now < claimsFrom) {
    return `the database was restored; runs begin at ${claimsFrom.toISOString()}`;
  }
  if (workers.length === 0) return "no worker is there";
  const able = workers.filter((worker) => labels.every((label) => worker.labels.includes(label)));
  if (able.length === 0) return `no worker has the labels ${labels.join(", ")}`;
  const host = places.get(row.optionalNumber("host_id") ?? -1);
  const units = row.number("units");
  if (host && host.used + Math.min(units, host.capacity) > host.capacity) {
    return `the host ${host.id} has ${host.used} of ${host.capacity} connections in use; ${units} are needed`;
  }
  const full = row
    .numbers("place_ids")
    .map((id) => places.get(id))
    .find((place) => place && place.capacity > 0 && place.used >= place.capacity);
  if (full) return `${full.id} has ${full.used} of ${full.capacity} runs`;
  return "its turn: workers are busy, or others come first";
}

function whyNotDue(row: Row): string | undefined {
  if (row.number("failures") > 0) return "tries again after an error";
  if (row.optionalTime("next_at") !== undefined) return undefined;
  return "it is to be synced once, and was";
}
