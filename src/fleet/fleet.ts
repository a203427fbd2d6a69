/** What a fleet is made of, as its plan, its database and those who look at it have it. */
import type { LeasePlaces } from "../migration/lease.ts";
import type { MeasuredSync } from "../state/sync-history.ts";

/** When a VM is to be synced: every so many ms after the last start, at the minutes of a cron line, or once. */
export type Schedule =
  | { readonly kind: "every"; readonly everyMs: number }
  | { readonly kind: "cron"; readonly line: string; readonly timeZone: string }
  | { readonly kind: "once" };

/** A span of every week, in a time zone; one that ends before it begins goes on over the week's end. */
export interface WeeklyWindow {
  /** Minutes from Monday 00:00: 0 to 10,079. */
  readonly fromMinute: number;
  /** 1 to 10,080. */
  readonly toMinute: number;
  /** Of the IANA database, such as Europe/Rome. */
  readonly timeZone: string;
}

export interface PlannedVm {
  /** The last part of its path, or all of it where two VMs share that part. Unique in the plan. */
  readonly name: string;
  /** `HOST:PORT`, in lower case: the state is kept under this spelling. */
  readonly endpoint: string;
  readonly vmPath: string;
  readonly wave: string;
  /** Higher ones come first. */
  readonly priority: number;
  readonly schedule: Schedule;
  /** When syncs may begin; empty: always. */
  readonly syncWindows: readonly WeeklyWindow[];
  /** When a cutover may begin; empty: whenever one is asked for. */
  readonly cutoverWindows: readonly WeeklyWindow[];
  /** Names of VMs of the plan that must be cut over before this one is. */
  readonly after: readonly string[];
  /** `KEY=VALUE` that a worker must have, all of them. */
  readonly labels: readonly string[];
  /** Every setting of `migrate` and `cutover` as text, by its flag's name, the plan's defaults included. No secret. */
  readonly settings: Readonly<Record<string, string>>;
}

export interface FleetLimits {
  /** Connections to each ESXi host. */
  readonly hostConnections: number;
  /** Runs that read from each datastore; 0: no limit. */
  readonly datastoreRuns: number;
  /** Runs that write to each target server (host and port); 0: no limit. */
  readonly targetRuns: number;
}

export interface FleetPlan {
  readonly limits: FleetLimits;
  /**
   * After which a target's server has let go of a silent connection, ms. Undefined: not known, and what a
   * dead worker held waits for an operator's word.
   */
  readonly targetDropMs?: number;
  readonly vms: readonly PlannedVm[];
}

/** What a worker does with a VM it has claimed. */
export type FleetAction = "migrate" | "cutover";

/** What a worker holds of a VM. Every call about it carries the token: a stale one changes nothing. */
export interface Lease {
  readonly vmId: number;
  readonly token: bigint;
  /** Tells this lease from one that a restored database gave out with the same token. */
  readonly nonce: string;
  readonly action: FleetAction;
  readonly vm: PlannedVm;
  /** Of VMs that were claimed after a worker's death: what it wrote may still be on its way. */
  readonly takenOver: boolean;
  readonly ttlMs: number;
  /** The plan's limit for each host, as of the claim. */
  readonly hostConnections: number;
}

/** What a worker is told when it renews a lease. */
export type LeaseWord = "go-on" | "stop" | "lost";

/** Where a run goes, known once the VM was looked at: what the limits are counted by. */
export type RunPlaces = LeasePlaces;

/** A VM's state directory as one value. */
export interface StateBundle {
  readonly bytes: Uint8Array;
  readonly sha256: string;
  /** Version of the state's schema: one that is newer than the reader's is refused. */
  readonly schemaVersion: number;
}

/** How a run ended, for the schedule and for those who look. */
export interface RunOutcome {
  readonly status: "completed" | "failed" | "interrupted";
  readonly exitCode: number;
  /** Of the error catalogue; absent for a run that went well. */
  readonly errorCode?: string;
  readonly message?: string;
  readonly remedy?: string;
  /** Facts of the run, as the command's own JSON has them: bytes, disks, duration, digests. */
  readonly ending?: unknown;
}

/** What the runs of one VM measured, as the fleet recorded them. */
export interface RecordedVm {
  readonly endpoint: string;
  readonly vmPath: string;
  /** `ENDPOINT MOREF`, as the last run found it. */
  readonly host?: string;
  readonly datastores: readonly string[];
  /** That were completed, oldest first: the newest few, and a full copy that is still kept. */
  readonly syncs: readonly MeasuredSync[];
  readonly isCutOver: boolean;
  /** Of its cutover, from the guest's shutdown until it was up. */
  readonly downtimeMs?: number;
}
