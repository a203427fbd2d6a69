// Who is next: large VMs are not starved by small ones, and a wait at one place does not stop the others.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { FleetStore } from "../../../src/fleet/database/store.ts";
import type { Lease, PlannedVm, RunPlaces } from "../../../src/fleet/fleet.ts";
import { LabPostgres } from "../../lab/postgres.ts";
import { alice, at, completed, interrupted, LabFleet, plan, vm } from "./fleet.ts";

const server = await LabPostgres.start();
after(() => server[Symbol.asyncDispose]());

type Known = readonly [name: string, places: RunPlaces, more?: Partial<PlannedVm>];

/** A fleet whose VMs have run once, so that it is known where; all due again, in the order given. */
async function fleetOf(fleet: LabFleet, vms: readonly Known[], limits = {}): Promise<FleetStore> {
  const store = await fleet.openNew();
  const usual = { hostConnections: 8, datastoreRuns: 0, targetRuns: 0 };
  await store.register({ name: "all", labels: ["site=rome"], version: "1", parallel: 1 });
  await store.apply(
    plan(
      vms.map(([name, , more]) => vm(name, more)),
      { limits: { ...usual, ...limits } },
    ),
  );
  for (const _ of vms) {
    const lease = (await store.claim({ name: "all", labels: ["site=rome"] }))!;
    const places = vms.find(([name]) => name === lease.vm.name)![1];
    assert.equal(await store.place(lease, places), "placed");
    await store.finish(lease, completed);
  }
  for (const [index, [name]] of vms.entries()) {
    await fleet.sql(
      `UPDATE vm SET sync_at = now() - interval '${vms.length - index} min' WHERE name = '${name}'`,
    );
  }
  return store;
}

const nameOf = (lease: Lease | undefined) => lease?.vm.name;

test("small VMs do not pass a large one that waits for its host", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleetOf(fleet, [
    ["small1", at("h1", 2)],
    ["large", at("h1", 8)],
    ["small2", at("h1", 1)],
    ["elsewhere", at("h2", 1)],
  ]);
  const first = (await store.claim(alice))!;
  assert.equal(nameOf(first), "small1");
  assert.equal(nameOf(await store.claim(alice)), "elsewhere");
  assert.equal(await store.claim(alice), undefined);
  const waiting = (await store.status({ vms: ["large"] })).vms[0]!;
  assert.equal(waiting.state, "due");
  assert.match(waiting.why!, /h1 has 2 of 8 connections in use; 8 are needed/);
  await store.finish(first, completed);
  const large = (await store.claim(alice))!;
  assert.equal(nameOf(large), "large");
  await store.finish(large, completed);
  assert.equal(nameOf(await store.claim(alice)), "small2");
});

test("a VM that comes to a host does not pass those that stand in line there", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleetOf(fleet, [
    ["small", at("h1", 2)],
    ["large", at("h1", 8)],
  ]);
  const small = (await store.claim(alice))!;
  await store.apply(
    plan([vm("small"), vm("large"), vm("new")], {
      limits: { hostConnections: 8, datastoreRuns: 0, targetRuns: 0 },
    }),
  );
  const comer = (await store.claim(alice))!;
  assert.equal(nameOf(comer), "new");
  assert.equal(await store.place(comer, at("h1", 1)), "full");
  await store.finish(comer, interrupted);
  assert.equal(await store.claim(alice), undefined, "it stands behind the large one");
  await store.finish(small, completed);
  assert.equal(nameOf(await store.claim(alice)), "large");
});

test("a full target server stops those that write to it, not their host's others; and its head is not passed", async () => {
  await using fleet = await LabFleet.on(server);
  const to = (target: string) => ({ targetServers: [target] });
  const store = await fleetOf(
    fleet,
    [
      ["runs", at("h1", 1, to("t1"))],
      ["head", at("h2", 6, to("t1"))],
      ["next", at("h2", 1, to("t1"))],
      ["free", at("h2", 2, to("t2"))],
      ["toobig", at("h2", 3, to("t2"))],
    ],
    { targetRuns: 1 },
  );
  const runs = (await store.claim(alice))!;
  assert.equal(nameOf(runs), "runs");
  const free = (await store.claim(alice))!;
  assert.equal(nameOf(free), "free", "it leaves what the head needs");
  await store.finish(free, completed);
  assert.equal(await store.claim(alice), undefined, "the next one does not leave it");
  await store.finish(runs, completed);
  assert.equal(nameOf(await store.claim(alice)), "head");
});

test("datastores are counted", async () => {
  await using fleet = await LabFleet.on(server);
  const on = (...datastores: string[]) => ({ datastores });
  const store = await fleetOf(
    fleet,
    [
      ["a", at("h1", 1, on("d1", "d2"))],
      ["b", at("h2", 1, on("d2"))],
      ["c", at("h3", 1, on("d3"))],
    ],
    { datastoreRuns: 1 },
  );
  const a = (await store.claim(alice))!;
  assert.equal(nameOf(a), "a");
  assert.equal(nameOf(await store.claim(alice)), "c");
  assert.equal(await store.claim(alice), undefined);
  await store.finish(a, completed);
  assert.equal(nameOf(await store.claim(alice)), "b");
});

test("VMs with labels go to workers that have them all; one that waits is kept room for while such a worker lives", async () => {
  await using fleet = await LabFleet.on(server);
  const rome = { labels: ["site=rome"] };
  const store = await fleetOf(fleet, [
    ["bound", at("h1", 6), rome],
    ["large", at("h1", 3)],
    ["small", at("h1", 2)],
  ]);
  assert.equal(
    await store.claim(alice),
    undefined,
    "the large one would take the room of the first",
  );
  const bound = (await store.claim({ name: "all", labels: ["site=rome", "disk=fast"] }))!;
  assert.equal(nameOf(bound), "bound");
  await store.finish(bound, completed);
  await fleet.sql("UPDATE vm SET sync_at = now() - interval '1 h' WHERE name = 'bound'");
  await store.unregister("all");
  assert.equal(nameOf(await store.claim(alice)), "large", "nobody could take the first");
  assert.match((await store.status({ vms: ["bound"] })).vms[0]!.why!, /no worker/);
});

test("higher priority comes first, then who is due longer; of paused waves nobody", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleetOf(fleet, [
    ["early", at("h1", 1)],
    ["held", at("h1", 1), { wave: "2", priority: 9 }],
    ["late", at("h1", 1)],
    ["urgent", at("h1", 1), { priority: 3 }],
  ]);
  assert.deepEqual(await store.pause({ waves: ["2"] }), ["held"]);
  const names = [];
  for (let lease = await store.claim(alice); lease; lease = await store.claim(alice)) {
    names.push(nameOf(lease));
  }
  assert.deepEqual(names, ["urgent", "early", "late"]);
  await assert.rejects(store.resume({ waves: ["3"], vms: ["nobody"] }), {
    code: "usage",
    message: "The fleet's plan has no wave 3, no nobody",
  });
  assert.deepEqual(await store.resume({ vms: ["held"] }), ["held"]);
  assert.equal(nameOf(await store.claim(alice)), "held", "whoever is named runs");
});
