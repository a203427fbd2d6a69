// Twenty workers that claim at once, some of which die: nobody runs beside another, no limit is exceeded, nobody
// starves. Judged by what the workers themselves did, not by the database's books.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { FleetStore } from "../../../src/fleet/database/store.ts";
import type { RunPlaces } from "../../../src/fleet/fleet.ts";
import { LabPostgres } from "../../lab/postgres.ts";
import { Random } from "../../random.ts";
import { until } from "../../until.ts";
import { at, completed, interrupted, LabFleet, plan, vm } from "./fleet.ts";

const server = await LabPostgres.start();
after(() => server[Symbol.asyncDispose]());

const seed = Number(process.env.FLEET_SEED ?? Math.floor(Math.random() * 2 ** 32));
const random = new Random(seed);
const seedText = `FLEET_SEED=${seed}`;

/** Who runs what, and how much at each place, as an eyewitness has it. */
class Judge {
  readonly running = new Map<string, string>();
  readonly used = new Map<string, number>();
  readonly peaks = new Map<string, number>();
  readonly ends = new Map<string, number>();
  /** VMs with which a worker died: once each, as the second time in a row brings a pause of a minute. */
  readonly died = new Set<string>();
  readonly violations: string[] = [];

  begin(name: string, worker: string): void {
    const other = this.running.get(name);
    if (other !== undefined) this.violations.push(`${name}: ${worker} began beside ${other}`);
    this.running.set(name, worker);
  }

  count(places: RunPlaces, sign: 1 | -1): void {
    const all = [...places.datastores, ...places.targetServers].map((id) => [id, 1] as const);
    for (const [id, units] of [[places.host, places.units] as const, ...all]) {
      const now = (this.used.get(id) ?? 0) + sign * units;
      this.used.set(id, now);
      this.peaks.set(id, Math.max(this.peaks.get(id) ?? 0, now));
    }
  }

  end(name: string, isDone: boolean): void {
    this.running.delete(name);
    if (isDone) this.ends.set(name, (this.ends.get(name) ?? 0) + 1);
  }
}

test("twenty workers, some of which die in mid-run, keep all limits, never run a VM twice at once, and let none starve", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew(5_000, 500);
  const placesOf = new Map<string, RunPlaces>();
  const vms = Array.from({ length: 30 }, (_, index) => {
    const name = `vm${index}`;
    const more = { datastores: [`ds${index % 4}`], targetServers: [`target${index % 2}:10809`] };
    placesOf.set(name, at(`host-${index % 3}`, 1 + (index % 8), more));
    return vm(name, { schedule: { kind: "every", everyMs: 1 } });
  });
  const limits = { hostConnections: 10, datastoreRuns: 4, targetRuns: 7 };
  await store.apply(plan(vms, { limits }));
  const judge = new Judge();
  const done = new AbortController();
  const workers = Array.from({ length: 20 }, async (_, index) =>
    work(await fleet.open(), `worker${index}`, placesOf, judge, done.signal),
  );
  const enough = () =>
    judge.violations.length > 0 ||
    [...placesOf.keys()].every((name) => (judge.ends.get(name) ?? 0) >= 2);
  try {
    await until(`every VM has run twice (${seedText})`, enough, 50_000);
  } finally {
    done.abort();
    await Promise.all(workers);
  }
  assert.deepEqual(judge.violations, []);
  assert.ok(judge.died.size > 0, seedText);
  for (const [id, peak] of judge.peaks) {
    const limit = id.startsWith("ds") ? 4 : id.startsWith("target") ? 7 : 10;
    assert.ok(peak <= limit, `${id}: ${peak} of ${limit} (${seedText})`);
  }
  assert.equal(judge.peaks.get("vc.example:443 host-0"), 10, "the limit was reached");
});

async function work(
  store: FleetStore,
  name: string,
  placesOf: ReadonlyMap<string, RunPlaces>,
  judge: Judge,
  signal: AbortSignal,
): Promise<void> {
  await store.register({ name, labels: [], version: "1", parallel: 1 });
  while (!signal.aborted) {
    const lease = await store.claim({ name, labels: [] });
    if (lease === undefined) {
      await sleep(10 + random.below(20));
      continue;
    }
    const places = placesOf.get(lease.vm.name)!;
    judge.begin(lease.vm.name, name);
    const isPlaced = (await store.place(lease, places)) === "placed";
    if (isPlaced) {
      judge.count(places, 1);
      await sleep(random.below(20));
      judge.count(places, -1);
    }
    const dies = isPlaced && !judge.died.has(lease.vm.name) && random.chance(0.1);
    if (dies) judge.died.add(lease.vm.name);
    judge.end(lease.vm.name, isPlaced && !dies);
    if (dies) continue;
    const isHeld = await store.finish(lease, isPlaced ? completed : interrupted);
    if (!isHeld) judge.violations.push(`${lease.vm.name}: taken from ${name}, who lived`);
  }
}
