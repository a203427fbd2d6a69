// What a fleet's database costs with 100 to 10,000 VMs, all due, on 100 hosts, and 20 workers that claim: medians,
// 95th percentiles, and whether they grow with the VMs. A real PostgreSQL that syncs what it commits.
//
//   .ci/node test/bench/fleet-database.ts [SECONDS [VMS …]]

import { setTimeout as sleep } from "node:timers/promises";
import type { FleetStore } from "../../src/fleet/database/store.ts";
import type { RunPlaces } from "../../src/fleet/fleet.ts";
import { at, bundle, completed, LabFleet, plan, vm } from "../fleet/database/fleet.ts";
import { LabPostgres } from "../lab/postgres.ts";

const hostCount = 100;
const workerCount = 20;
/** Between two runs of a worker: 20 workers make some hundred runs a second, far more than real ones. */
const pauseMs = 50;
const statusEveryMs = 100;
/** Connections are made, functions compiled. */
const warmUpMs = 2000;
const limitMs = 50;
const measuredFor = ["apply/VM", "claim", "place", "renew", "push", "finish", "status"] as const;
type Operation = (typeof measuredFor)[number];

class Times {
  readonly #ms = new Map<Operation, number[]>();

  forget(operations: readonly Operation[]): void {
    for (const operation of operations) this.#ms.delete(operation);
  }

  async of<T>(operation: Operation, work: () => Promise<T>): Promise<T> {
    const startedMs = performance.now();
    const result = await work();
    this.add(operation, performance.now() - startedMs);
    return result;
  }

  add(operation: Operation, ms: number): void {
    this.#ms.set(operation, [...(this.#ms.get(operation) ?? []), ms]);
  }

  count(operation: Operation): number {
    return this.#ms.get(operation)?.length ?? 0;
  }

  quantile(operation: Operation, part: number): number {
    const sorted = (this.#ms.get(operation) ?? []).toSorted((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
  }
}

async function measure(server: LabPostgres, vmCount: number, seconds: number): Promise<Times> {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  const times = new Times();
  const vms = Array.from({ length: vmCount }, (_, index) =>
    vm(`vm${index}`, { wave: String(index % 10), schedule: { kind: "every", everyMs: 1 } }),
  );
  const startedMs = performance.now();
  await store.apply(plan(vms));
  times.add("apply/VM", (performance.now() - startedMs) / vmCount);
  await knowHosts(fleet);
  const done = AbortSignal.timeout(seconds * 1000 + warmUpMs);
  setTimeout(() => times.forget(measuredFor.filter((name) => name !== "apply/VM")), warmUpMs);
  await Promise.all([
    ...Array.from({ length: workerCount }, async (_, index) =>
      work(await fleet.open(), `worker${index}`, times, done),
    ),
    watch(await fleet.open(), times, done),
  ]);
  return times;
}

/** As if each VM had run once: 4 connections, to one of the hosts. */
async function knowHosts(fleet: LabFleet): Promise<void> {
  await fleet.sql(`
    INSERT INTO place (kind, name, capacity, ceiling)
      SELECT 'host', 'vc.example:443 host-' || n, 24, 24 FROM generate_series(0, ${hostCount - 1}) n;
    INSERT INTO line (host_id, labels) SELECT id, '{}' FROM place;
    UPDATE vm SET units = 4, line_id = (SELECT line.id FROM line JOIN place ON place.id = host_id
      WHERE place.name = 'vc.example:443 host-' || substr(vm.name, 3)::integer % ${hostCount});
    ANALYZE`);
}

async function work(
  store: FleetStore,
  name: string,
  times: Times,
  done: AbortSignal,
): Promise<void> {
  await store.register({ name, labels: [], version: "1", parallel: 1 });
  const state = bundle("x".repeat(100_000));
  while (!done.aborted) {
    const lease = await times.of("claim", () => store.claim({ name, labels: [] }));
    if (lease !== undefined) {
      const host = Number(lease.vm.name.slice(2)) % hostCount;
      const places: RunPlaces = at(`host-${host}`, 4);
      await times.of("place", () => store.place(lease, places));
      await times.of("renew", () => store.renew(lease));
      await times.of("push", () => store.push(lease, state));
      await times.of("finish", () => store.finish(lease, completed));
    }
    await sleep(Math.random() * 2 * pauseMs);
  }
}

/** What `fleet status` shows of a large fleet: the waves, and the VMs that are in trouble or at work. */
async function watch(store: FleetStore, times: Times, done: AbortSignal): Promise<void> {
  while (!done.aborted) {
    await times.of("status", () => store.status({ healthy: false, syncsMax: 0, endings: false }));
    await sleep(statusEveryMs);
  }
}

const [seconds = 20, ...counts] = process.argv.slice(2).map(Number);
const vmCounts = counts.length > 0 ? counts : [100, 1000, 10_000];
await using server = await LabPostgres.start({ durable: true });
const all: Times[] = [];
for (const vmCount of vmCounts) {
  const times = await measure(server, vmCount, seconds);
  all.push(times);
  console.log(`\n${vmCount} VMs on ${hostCount} hosts, ${workerCount} workers, ${seconds} s`);
  for (const operation of measuredFor) {
    const [median, most] = [0.5, 0.95].map((part) => times.quantile(operation, part).toFixed(2));
    const over = times.quantile(operation, 0.95) > limitMs ? `  over ${limitMs} ms` : "";
    console.log(
      `  ${operation.padEnd(9)} median ${median!.padStart(7)} ms  p95 ${most!.padStart(7)} ms  of ${times.count(operation)}${over}`,
    );
  }
}
const [first, last] = [all[0]!, all.at(-1)!];
console.log(`\n${vmCounts.at(-1)} VMs as against ${vmCounts[0]}, by the median:`);
for (const operation of measuredFor) {
  const ratio = last.quantile(operation, 0.5) / first.quantile(operation, 0.5);
  console.log(`  ${operation.padEnd(9)} × ${ratio.toFixed(2)}`);
}
