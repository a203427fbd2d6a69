// Statuses of fleets, as the store gives them.

import {
  type FleetStatus,
  type FleetVmState,
  type FleetVmStatus,
  type FleetVmSync,
  type FleetWaveStatus,
  fleetVmStates,
} from "../../../src/fleet/status.ts";

export const nowMs = Date.UTC(2026, 10, 27, 17, 0, 0);
const minuteMs = 60_000;

export const ago = (minutes: number) => new Date(nowMs - minutes * minuteMs).toISOString();
export const ahead = (minutes: number) => ago(-minutes);

interface SyncSample {
  readonly type?: "full" | "incremental";
  readonly bytes?: number;
  readonly durationMs?: number;
  readonly resumed?: boolean;
  readonly disks?: number;
  readonly digest?: string;
  readonly status?: FleetVmSync["status"];
}

/** A sync that ended `minutes` ago, with the ending that `migrate --json` has. */
export function syncOf(minutes: number, sample: SyncSample = {}): FleetVmSync {
  const {
    type = "incremental",
    bytes = 64 << 20,
    durationMs = 40_000,
    status = "completed",
  } = sample;
  return {
    at: ago(minutes + durationMs / minuteMs),
    action: "migrate",
    status,
    worker: "vma1",
    durationMs,
    ...(status === "completed" ? { bytes, ending: endingOf(type, bytes, durationMs, sample) } : {}),
    ...(status === "failed" ? { errorCode: "target-unreachable" } : {}),
  };
}

function endingOf(
  type: "full" | "incremental",
  bytes: number,
  durationMs: number,
  { resumed = false, disks = 1, digest }: SyncSample,
) {
  const total = {
    planned_bytes: bytes,
    read_bytes: bytes,
    written_bytes: bytes / 2,
    zeroed_bytes: bytes / 4,
    unchanged_bytes: bytes / 4,
    compared_bytes: 1 << 20,
    rate_bps: Math.round((bytes / durationMs) * 1000),
  };
  return {
    run_id: `run-${type}-${bytes}`,
    sync_type: type,
    duration_ms: durationMs,
    total,
    disks: Array.from({ length: disks }, (_, at) => ({
      disk_id: `disk-${2000 + at}`,
      target: `10.0.0.5:10809#vol-${at}`,
      sync_type: type,
      resumed,
      capacity_bytes: 40 * 2 ** 30,
      ...(digest && {
        verification: {
          result: "equal",
          compared: "all",
          compared_bytes: 40 * 2 ** 30,
          differing_bytes: 0,
          digest: `sha256:${digest.repeat(64 / digest.length)}`,
          duration_ms: 100_000,
        },
      }),
    })),
  };
}

/** A cutover as `cutover --json` has it: its last sync took `lastMs` of the downtime. */
export function cutoverOf(minutes: number, lastMs: number, downtimeMs: number): FleetVmSync {
  const last = endingOf("incremental", 8 << 20, lastMs, { digest: "ab" });
  return {
    at: ago(minutes + downtimeMs / minuteMs),
    action: "cutover",
    status: "completed",
    worker: "vma2",
    durationMs: downtimeMs + 20_000,
    bytes: 24 << 20,
    ending: {
      ...last,
      passes: [endingOf("incremental", 16 << 20, 30_000, {})],
      final_sync: last,
      downtime_ms: downtimeMs,
      instance: { name: "web01-cloud", id: "8d1f7a52", downtime_ms: downtimeMs },
    },
  };
}

export function vmOf(
  name: string,
  state: FleetVmState,
  more: Partial<FleetVmStatus> = {},
): FleetVmStatus {
  return {
    name,
    endpoint: "vc.example.com:443",
    vmPath: `/DC/vm/Production/${name}`,
    wave: "1",
    priority: 0,
    labels: [],
    after: [],
    state,
    action: "migrate",
    failures: 0,
    syncs: [],
    ...more,
  };
}

/** Waves and sums follow from the VMs. */
export function statusOf(
  vms: readonly FleetVmStatus[],
  more: Partial<FleetStatus> = {},
): FleetStatus {
  const names = [...new Set(vms.map(({ wave }) => wave))].sort();
  return {
    at: ago(0),
    limits: { hostConnections: 24, datastoreRuns: 0, targetRuns: 4 },
    workers: [],
    hosts: [],
    datastores: [],
    targetServers: [],
    waves: names.map((name) => waveOf(name, vms)),
    vms,
    ...more,
  };
}

function earliest(name: "nextRunAt" | "oldestSyncAt", times: readonly (string | undefined)[]) {
  const [first] = times.filter((time) => time !== undefined).sort();
  return first === undefined ? {} : { [name]: first };
}

function waveOf(name: string, vms: readonly FleetVmStatus[]): FleetWaveStatus {
  const own = vms.filter(({ wave }) => wave === name);
  const left = own.filter(({ state }) => state !== "cut-over");
  const count = (is: (vm: FleetVmStatus) => boolean) => own.filter(is).length;
  const sum = (values: readonly (number | undefined)[]) =>
    values.reduce<number>((total, value) => total + (value ?? 0), 0);
  return {
    name,
    paused: false,
    vmCount: own.length,
    inSync: count(
      (vm) => vm.state !== "cut-over" && vm.lastSyncAt !== undefined && vm.failures === 0,
    ),
    cutOver: count(({ state }) => state === "cut-over"),
    failed: count(({ state }) => state === "failed"),
    running: count(({ state }) => state === "running" || state === "takeover"),
    states: Object.fromEntries(
      fleetVmStates.map((each) => [each, count(({ state }) => state === each)]),
    ) as FleetWaveStatus["states"],
    ...earliest(
      "nextRunAt",
      own
        .filter(({ state }) => ["waiting", "due", "blocked"].includes(state))
        .map(({ nextRunAt }) => nextRunAt),
    ),
    ...earliest(
      "oldestSyncAt",
      left.map(({ lastSyncAt }) => lastSyncAt),
    ),
    deltaBytes: sum(left.map(({ deltaBytes }) => deltaBytes)),
    bytesPerSecond: sum(
      own
        .filter(({ state }) => state === "running")
        .map(({ progress }) => progress?.bytesPerSecond),
    ),
  };
}

/** A fleet in which everything happens. */
export function busyFleet(): FleetStatus {
  const synced = (minutes: number, deltas: readonly number[]) => ({
    lastSyncAt: ago(minutes),
    deltaBytes: deltas.at(-1)!,
    syncs: [
      syncOf(6000, { type: "full", bytes: 20 * 2 ** 30, durationMs: 600_000 }),
      ...deltas.map((bytes, at) => syncOf(minutes + 60 * (deltas.length - 1 - at), { bytes })),
    ],
  });
  return statusOf(
    [
      vmOf("db01", "failed", {
        wave: "2",
        failures: 3,
        lastError: {
          at: ago(12),
          code: "target-too-small",
          exitCode: 5,
          message: "disk-2000: the target has 10 GiB, the disk 40 GiB",
          remedy: "Make the volume as large as the disk.",
        },
      }),
      vmOf("app01", "takeover", {
        worker: "vma3",
        why: "vma3 is not heard of since 5 min; 'migratekit fleet resume --takeover --vm app01' lets another take over",
      }),
      vmOf("app02", "due", {
        failures: 2,
        nextRunAt: ahead(4),
        lastError: {
          at: ago(1),
          code: "target-unreachable",
          exitCode: 5,
          message: "10.0.0.5:10809 refuses",
        },
        ...synced(61, [1 << 20, 3 << 20]),
      }),
      vmOf("web01", "cut-over", {
        cutOverAt: ago(90),
        lastSyncAt: ago(90),
        syncs: [
          syncOf(300, { type: "full", bytes: 20 * 2 ** 30, durationMs: 600_000 }),
          syncOf(200, { bytes: 16 << 20 }),
          cutoverOf(90, 20_000, 140_000),
        ],
      }),
      vmOf("web02", "running", {
        worker: "vma1",
        startedAt: ago(2),
        progress: {
          stage: "Transfer",
          doneBytes: 3 * 2 ** 30,
          plannedBytes: 10 * 2 ** 30,
          bytesPerSecond: 100 * 2 ** 20,
        },
      }),
      vmOf("web03", "waiting", {
        nextRunAt: ahead(15),
        ...synced(30, [64 << 20, 32 << 20, 128 << 20]),
      }),
      vmOf("web04", "paused", { wave: "2", ...synced(600, [64 << 20]) }),
      vmOf("web05", "blocked", {
        wave: "2",
        action: "cutover",
        after: ["db01"],
        why: "its cutover waits for db01's",
        nextRunAt: ahead(2),
        ...synced(13, [64 << 20, 64 << 20]),
      }),
    ],
    {
      workers: [
        {
          name: "vma1",
          labels: ["site=rome"],
          version: "3.1.0",
          parallel: 4,
          seenAt: ago(0.1),
          alive: true,
          runs: 1,
        },
        {
          name: "vma3",
          labels: [],
          version: "3.0.0",
          parallel: 2,
          seenAt: ago(5),
          alive: false,
          runs: 1,
        },
      ],
      hosts: [
        { id: "vc.example.com:443 host-10", used: 4, capacity: 24 },
        { id: "vc.example.com:443 host-11", used: 24, capacity: 24 },
      ],
      datastores: [{ id: "vc.example.com:443 datastore-1", used: 2, capacity: 0 }],
      targetServers: [{ id: "10.0.0.5:10809", used: 2, capacity: 4 }],
    },
  );
}

/** So many VMs that are well, in ten waves, with a history. */
export function largeFleet(count: number): FleetStatus {
  return statusOf(
    Array.from({ length: count }, (_, at) =>
      vmOf(`vm${String(at).padStart(5, "0")}`, "waiting", {
        wave: String(1 + (at % 10)),
        lastSyncAt: ago(30 + (at % 60)),
        nextRunAt: ahead(1 + (at % 90)),
        deltaBytes: (1 + (at % 50)) << 20,
        syncs: [
          syncOf(6000, { type: "full", bytes: 20 * 2 ** 30, durationMs: 600_000 }),
          ...[9, 8, 7, 6, 5].map((hours) =>
            syncOf(hours * 60, { bytes: (1 + ((at * hours) % 50)) << 20 }),
          ),
        ],
      }),
    ),
  );
}
