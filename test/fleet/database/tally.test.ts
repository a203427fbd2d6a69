// The waves' sums, which are kept and not counted: whatever happens, they are what a count of the VMs gives.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { applyPlan } from "../../../src/fleet/database/apply.ts";
import { FleetDatabase } from "../../../src/fleet/database/database.ts";
import { initFleet } from "../../../src/fleet/database/init.ts";
import { schemaSteps } from "../../../src/fleet/database/schema/schema.ts";
import type { FleetStore } from "../../../src/fleet/database/store.ts";
import type { Lease, PlannedVm } from "../../../src/fleet/fleet.ts";
import { type FleetStatus, type FleetVmStatus, fleetVmStates } from "../../../src/fleet/status.ts";
import { createLogger } from "../../../src/logger.ts";
import { LabPostgres } from "../../lab/postgres.ts";
import { Random } from "../../random.ts";
import { until } from "../../until.ts";
import { alice, at, completed, failed, interrupted, LabFleet, plan, vm } from "./fleet.ts";

const server = await LabPostgres.start();
after(() => server[Symbol.asyncDispose]());

const seed = Number(process.env.FLEET_SEED ?? Math.floor(Math.random() * 2 ** 32));
const seedText = `FLEET_SEED=${seed}`;
const rounds = 80;
const waveNames = ["1", "2", "3"];

/** What the VMs of one status come to, each looked at. */
function counted({ vms }: FleetStatus) {
  return [...Map.groupBy(vms, ({ wave }) => wave)].sort().map(([name, own]) => {
    const left = own.filter(({ state }) => state !== "cut-over");
    const count = (is: (vm: FleetVmStatus) => boolean) => own.filter(is).length;
    const first = (times: readonly (string | undefined)[]) =>
      times.filter((time) => time).sort()[0];
    return {
      name,
      vmCount: own.length,
      cutOver: own.length - left.length,
      failed: count(({ state }) => state === "failed"),
      running: count(({ state }) => state === "running" || state === "takeover"),
      states: Object.fromEntries(
        fleetVmStates.map((each) => [each, count(({ state }) => state === each)]),
      ),
      nextRunAt: first(own.map(({ nextRunAt }) => nextRunAt)),
      oldestSyncAt: first(left.map(({ lastSyncAt }) => lastSyncAt)),
      deltaBytes: left.reduce((sum, { deltaBytes = 0 }) => sum + deltaBytes, 0),
      bytesPerSecond: own
        .filter(({ state }) => state === "running")
        .reduce((sum, { progress }) => sum + (progress?.bytesPerSecond ?? 0), 0),
    };
  });
}

function told({ waves }: FleetStatus) {
  return waves.map(({ paused: _paused, inSync: _inSync, ...rest }) => ({
    ...rest,
    nextRunAt: rest.nextRunAt,
    oldestSyncAt: rest.oldestSyncAt,
  }));
}

test("after any history the waves' sums are what a count of their VMs gives", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  const random = new Random(seed);
  const held: Lease[] = [];
  let vms = Array.from({ length: 40 }, (_, index) => anyVm(`vm${index}`, random));
  vms.push(...(await everyState(fleet, store, vms)));
  const begun = await store.status();
  assert.deepEqual(told(begun), counted(begun));
  for (const state of fleetVmStates) {
    assert.ok(
      begun.waves.some(({ states }) => states[state] > 0),
      state,
    );
  }
  for (let round = 0; round < rounds; round++) {
    vms = await happens(fleet, store, vms, held, random);
    const status = await store.status();
    assert.deepEqual(told(status), counted(status), `${seedText}, round ${round}`);
    const inSync = await fleet.sql(`SELECT string_agg(wave || ' ' || n, ',' ORDER BY wave) FROM (
      SELECT wave, count(*) FILTER (WHERE synced_at IS NOT NULL AND failures = 0 AND cut_over_at IS NULL) AS n
      FROM vm WHERE released_at IS NULL GROUP BY wave) counts`);
    const text = status.waves.map((wave) => `${wave.name} ${wave.inSync}`).join(",");
    assert.equal(text, inSync, `${seedText}, round ${round}`);
  }
});

/** Applies them with some that come to the states that are not had by chance. */
async function everyState(
  fleet: LabFleet,
  store: FleetStore,
  others: readonly PlannedVm[],
): Promise<PlannedVm[]> {
  const vms = [
    ...["moved", "bad", "lost", "runs"].map((name, at) => vm(name, { priority: 9 - at })),
    ...[vm("held"), vm("calm"), vm("blocked", { after: ["runs"] })],
  ];
  await store.apply(plan([...others, ...vms]));
  await store.cutover({ vms: ["moved", "blocked"] });
  await store.pause({ vms: ["held"] });
  await fleet.sql(
    "UPDATE vm SET sync_at = now() + interval '1 h' WHERE name IN ('calm', 'blocked')",
  );
  await store.finish((await store.claim(alice))!, completed);
  await store.finish((await store.claim(alice))!, failed("vm-not-found"));
  for (const name of ["lost", "runs"]) assert.equal((await store.claim(alice))!.vm.name, name);
  await fleet.sql(
    "UPDATE lease SET expires_at = now() - interval '1 s' FROM vm WHERE vm.id = vm_id AND name = 'lost'",
  );
  return vms;
}

function anyVm(name: string, random: Random): PlannedVm {
  const after = name === "vm0" ? [] : ["vm0"];
  return vm(name, {
    wave: waveNames[random.below(waveNames.length)]!,
    schedule: random.chance(0.3) ? { kind: "once" } : { kind: "every", everyMs: 60_000 },
    after: random.chance(0.5) ? after : [],
  });
}

/** One thing or another; the plan's VMs after it. */
async function happens(
  fleet: LabFleet,
  store: FleetStore,
  vms: PlannedVm[],
  held: Lease[],
  random: Random,
): Promise<PlannedVm[]> {
  const one = () => ({ vms: [vms[random.below(vms.length)]!.name] });
  const some = () => (random.chance(0.3) ? { waves: [vms[0]!.wave] } : one());
  const of = random.below(12);
  if (of < 4) {
    const lease = await store.claim(alice);
    if (lease !== undefined) {
      held.push(lease);
      await store.place(lease, at(`h${random.below(3)}`, 1));
      const progress = { stage: "Transfer", doneBytes: 1, plannedBytes: 2, bytesPerSecond: 7 };
      await store.renew(lease, progress);
    }
  } else if (of < 7) {
    const [lease] = held.splice(random.below(held.length), 1);
    const outcomes = [completed, completed, failed("vm-not-found"), failed("locked"), interrupted];
    if (lease) await store.finish(lease, outcomes[random.below(outcomes.length)]!);
  } else if (of === 7) {
    if (random.chance(0.5)) await store.pause(some());
    else await store.resume(random.chance(0.5) ? { all: true } : some());
  } else if (of === 8) {
    await store.retry(some());
  } else if (of === 9) {
    if (random.chance(0.7)) await store.cutover(some());
    else await store.cancelCutover(some());
  } else if (of === 10) {
    // Due, a worker lost for longer than its lease, or all of it added up.
    await fleet.sql(
      random.chance(0.5)
        ? `UPDATE vm SET sync_at = now() - interval '1 h' * random() WHERE sync_at IS NOT NULL AND id % 3 = 0`
        : `UPDATE lease SET expires_at = now() - interval '1 s' WHERE vm_id % 3 = 0; SELECT add_up_tally()`,
    );
  } else {
    const kept = vms.filter(({ name }) => name === "vm0" || random.chance(0.95));
    const names = new Set(kept.map(({ name }) => name));
    const open = kept.map((each) => ({
      ...each,
      wave: random.chance(0.1) ? waveNames[random.below(3)]! : each.wave,
      after: each.after.filter((name) => names.has(name)),
    }));
    const next = [...open, anyVm(`new${random.below(1000)}`, random)];
    if (new Set(next.map(({ name }) => name)).size < next.length) return vms;
    await store.apply(plan(next));
    return next;
  }
  return vms;
}

test("many that change VMs at the same time lose nothing of the sums, and what adds up to nothing is gone", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  const vms = Array.from({ length: 200 }, (_, index) =>
    vm(`vm${index}`, { schedule: { kind: "once" }, wave: waveNames[index % 3]! }),
  );
  await store.apply(plan(vms));
  const stores = await Promise.all(Array.from({ length: 6 }, () => fleet.open()));
  await Promise.all([
    ...stores.map(async (each, index) => {
      const worker = { name: `worker${index}`, labels: [] };
      for (let lease = await each.claim(worker); lease; lease = await each.claim(worker)) {
        await each.finish(lease, completed);
      }
    }),
    (async () => {
      for (let time = 0; time < 10; time++) await fleet.sql("SELECT add_up_tally()");
    })(),
  ]);
  const status = await store.status();
  assert.deepEqual(told(status), counted(status));
  await fleet.sql("SELECT add_up_tally()");
  assert.equal(await fleet.sql("SELECT count(*) FROM tally"), "3", "one for each wave");
  assert.equal((await store.status()).waves[0]!.inSync, 67);
});

test("sums stay few: what is due is one for each wave, and what comes later not more than the VMs make it", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  await store.apply(
    plan(
      Array.from({ length: 30 }, (_, index) => vm(`vm${index}`, { wave: waveNames[index % 3]! })),
    ),
  );
  const later = (round: number) => `UPDATE vm SET sync_at = now() + id * interval '${round} s'`;
  await fleet.sql(Array.from({ length: 100 }, (_, round) => later(round + 100)).join(";"));
  // Each was due at first, and then at a hundred times, of which the last holds.
  const sums = () => fleet.sql("SELECT count(*) FROM due");
  assert.ok(Number(await sums()) > 3000);
  await fleet.sql("SELECT add_up_tally()");
  assert.equal(await sums(), "30");
  await fleet.sql("UPDATE vm SET sync_at = now() - id * interval '1 min'");
  let status = await store.status();
  assert.deepEqual(told(status), counted(status));
  await until("a worker that asks for work has it added up", async () => {
    await store.register({ ...alice, version: "1", parallel: 1 });
    const past = "SELECT count(*) FROM due WHERE due_at <= now()";
    return (await fleet.sql(`${past}; SELECT count(*) FROM tally`)) === "3\n3";
  });
  status = await store.status();
  assert.deepEqual(told(status), counted(status));
  assert.equal(status.waves[0]!.states.due, 10);
});

test("an upgrade from the sums of version 1 loses nothing of what workers change meanwhile", async () => {
  await using fleet = await LabFleet.on(server);
  const silent = createLogger({ level: "silent", pretty: false });
  const connect = () => new FleetDatabase(fleet.url, undefined, silent, { application: "test" });
  await using database = connect();
  await database.transaction((queries) => initFleet(queries, {}, schemaSteps.slice(0, 1)));
  const vms = Array.from({ length: 200 }, (_, at) => vm(`vm${at}`, { wave: waveNames[at % 3]! }));
  await database.transaction((queries) => applyPlan(queries, plan(vms)));
  let changes = 0;
  let upgraded = false;
  const writers = [0, 1, 2, 3].map(async (own) => {
    await using each = connect();
    for (let left = 20; left > 0; left -= upgraded ? 1 : 0) {
      // As claims and endings do, after they have looked at the pulse.
      await each.query(`SELECT migratekit.register('writer${own}', '{}', '1', 1)`);
      await each.query(
        `UPDATE migratekit.vm SET failed = random() < 0.2, failures = 1 - failures, delta_bytes = id,
            synced_at = now(), sync_at = now() + (random() - 0.5) * interval '1 h'
          WHERE id % 4 = ${own} AND random() < 0.2`,
      );
      changes++;
    }
  });
  await until("all of them write", () => changes > 20);
  const store = await fleet.open();
  assert.equal((await store.init()).upgradedFrom, 1);
  upgraded = true;
  await Promise.all(writers);
  for (let round = 0; round < 2; round++) {
    const status = await store.status();
    assert.deepEqual(told(status), counted(status));
    await fleet.sql("SELECT add_up_tally()");
  }
});

test("VMs that are well and at rest are left out where they are not asked for; of the others trouble comes first", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  const names = ["away", "bad", "busy", "calm", "later", "rest"];
  const priorities = { bad: 9, busy: 8, later: 7 } as Record<string, number>;
  await store.apply(plan(names.map((name) => vm(name, { priority: priorities[name] ?? 0 }))));
  await store.finish((await store.claim(alice))!, failed("vm-not-found"));
  await store.claim(alice);
  await store.finish((await store.claim(alice))!, failed("locked"));
  await store.pause({ vms: ["away"] });
  const shown = async (scope: object) => (await store.status(scope)).vms.map(({ name }) => name);
  const notable = ["bad", "later", "busy", "away"];
  assert.deepEqual(await shown({ healthy: false }), notable);
  assert.deepEqual(await shown({ healthy: false, vmsMax: 2 }), ["bad", "later"]);
  assert.deepEqual(await shown({}), [...notable, "calm", "rest"]);
  assert.deepEqual(await shown({ vmsMax: 5 }), [...notable, "calm"]);
});
