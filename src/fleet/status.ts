/** What a fleet looks like at one moment: what `fleet status`, the metrics and the report are made of. */

import type { FleetAction, FleetLimits } from "./fleet.ts";

export interface FleetStatus {
  /** The database server's time, ISO 8601. All times in here are the server's. */
  readonly at: string;
  readonly limits: FleetLimits;
  /** As the plan states it; undefined: takeovers wait for an operator's word. */
  readonly targetDropMs?: number;
  /** Those that were heard of within a day, by name. */
  readonly workers: readonly FleetWorkerStatus[];
  /** Hosts, datastores and target servers that a run has been counted at, by name. */
  readonly hosts: readonly FleetPlaceStatus[];
  readonly datastores: readonly FleetPlaceStatus[];
  readonly targetServers: readonly FleetPlaceStatus[];
  /** Trouble first, then what runs, then by name; as many as were asked for. */
  readonly vms: readonly FleetVmStatus[];
  /** Of the whole plan, whatever part of it `vms` shows; by name. */
  readonly waves: readonly FleetWaveStatus[];
}

export interface FleetWorkerStatus {
  readonly name: string;
  readonly labels: readonly string[];
  /** Of migratekit. */
  readonly version: string;
  /** Runs at a time. */
  readonly parallel: number;
  readonly seenAt: string;
  /** False: it was not heard of for as long as a lease lives. */
  readonly alive: boolean;
  /** Leases that it holds. */
  readonly runs: number;
}

export interface FleetPlaceStatus {
  /** `ENDPOINT MOREF`; of a target server `HOST:PORT`. */
  readonly id: string;
  /** Connections to a host; runs at a datastore or a target server. */
  readonly used: number;
  /** 0: no limit. */
  readonly capacity: number;
}

export interface FleetWaveStatus {
  readonly name: string;
  readonly paused: boolean;
  readonly vmCount: number;
  /** At least one sync was completed, and the last run went well. Those that were cut over are not counted. */
  readonly inSync: number;
  readonly cutOver: number;
  /** Waiting for `fleet retry`. */
  readonly failed: number;
  /** Those whose worker is not heard of any more are counted, too. */
  readonly running: number;
  /** VMs by their state, each in one. */
  readonly states: Readonly<Record<FleetVmState, number>>;
  /** When the next run of it is due, or has been since; absent: none is planned. */
  readonly nextRunAt?: string;
  /** Of the last completed syncs of its VMs that are not cut over, the oldest. */
  readonly oldestSyncAt?: string;
  /** What the last completed syncs of its VMs that are not cut over had to bring. */
  readonly deltaBytes: number;
  /** What its runs copy. */
  readonly bytesPerSecond: number;
}

export const fleetVmStates = [
  /** Nothing to do before `nextRunAt`. */
  "waiting",
  /** It is time; `why` says what it waits for. */
  "due",
  "running",
  /** By `fleet pause`, it or its wave. */
  "paused",
  /** An operator has to see to it; then `fleet retry`. */
  "failed",
  /** Its worker is not heard of any more; `why` says when, or by whose word, another takes over. */
  "takeover",
  /** Its cutover was asked for and waits for other VMs' cutovers; its syncs go on. */
  "blocked",
  "cut-over",
] as const;
export type FleetVmState = (typeof fleetVmStates)[number];

export interface FleetVmStatus {
  readonly name: string;
  readonly endpoint: string;
  readonly vmPath: string;
  readonly wave: string;
  readonly priority: number;
  readonly labels: readonly string[];
  readonly after: readonly string[];
  readonly state: FleetVmState;
  /** What it waits for, in words. */
  readonly why?: string;
  /** What is done next or now. */
  readonly action: FleetAction;
  /** When a cutover was asked for. */
  readonly cutoverAskedAt?: string;
  readonly nextRunAt?: string;
  /** The end of the window in which `nextRunAt` lies. */
  readonly windowClosesAt?: string;
  /** Of what runs, or ran until it was not heard of any more. */
  readonly worker?: string;
  readonly startedAt?: string;
  readonly progress?: RunProgress;
  /** `ENDPOINT MOREF` where it was found last. */
  readonly host?: string;
  /** Runs that failed since the last that went well. */
  readonly failures: number;
  readonly lastError?: FleetVmError;
  /** Runs that have ended, newest last, 50 at most. */
  readonly syncs: readonly FleetVmSync[];
  /** When the last completed one ended. */
  readonly lastSyncAt?: string;
  readonly cutOverAt?: string;
  /** What had changed at the last completed sync; of a first one, what was allocated. */
  readonly deltaBytes?: number;
}

export interface FleetVmError {
  readonly at: string;
  /** Of the error catalogue. Absent: the run ended by a signal or its worker died. */
  readonly code?: string;
  readonly exitCode?: number;
  readonly message: string;
  readonly remedy?: string;
}

export interface FleetVmSync {
  /** When it began. */
  readonly at: string;
  readonly action: FleetAction;
  /** `lost`: its worker was not heard of any more, and another took over. */
  readonly status: "completed" | "failed" | "interrupted" | "lost";
  readonly worker: string;
  readonly durationMs: number;
  /** Allocated or changed, where `ending` says so (`total.planned_bytes`). */
  readonly bytes?: number;
  readonly errorCode?: string;
  /** As the worker gave it to `finish`. */
  readonly ending?: unknown;
}

/** How far a run is, as its worker told with the last renewal. */
export interface RunProgress {
  readonly stage: string;
  readonly doneBytes: number;
  readonly plannedBytes: number;
  readonly bytesPerSecond: number;
}

/** What part of a fleet is looked at. Everything by default; what is left out costs nothing. */
export interface StatusScope {
  /** Names of VMs. */
  readonly vms?: readonly string[];
  readonly waves?: readonly string[];
  /** VMs at most, trouble first; 0: the waves' counts alone. */
  readonly vmsMax?: number;
  /** False: without those that are well and at rest, which are not read then. True by default. */
  readonly healthy?: boolean;
  /** Ended runs of each VM, the newest ones; 50 by default and at most. */
  readonly syncsMax?: number;
  /** Whether runs come with their `ending`; true by default. */
  readonly endings?: boolean;
}
