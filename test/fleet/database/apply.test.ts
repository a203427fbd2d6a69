// A plan is applied: what changes, what stays, what is let go; and two at once.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { PlannedVm } from "../../../src/fleet/fleet.ts";
import { LabPostgres } from "../../lab/postgres.ts";
import {
  alice,
  at,
  bob,
  bundle,
  completed,
  failed,
  interrupted,
  LabFleet,
  plan,
  vm,
} from "./fleet.ts";

const server = await LabPostgres.start();
after(() => server[Symbol.asyncDispose]());

test("applied again, a plan changes what changed in it and nothing else", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  await store.apply(plan([vm("a"), vm("b"), vm("c")]));
  const { settings, ...rest } = vm("b");
  const reordered = { settings: { z: "1", ...settings }, ...rest };
  await store.apply(plan([vm("a"), reordered, vm("c")]));
  const same = { ...reordered, settings: { ...settings, z: "1" } };
  assert.deepEqual(await store.apply(plan([vm("a", { priority: 5 }), same, vm("d")])), {
    added: ["d"],
    changed: ["a"],
    unchanged: 1,
    released: ["c"],
    stopping: [],
  });
  const { vms } = await store.status();
  assert.deepEqual(
    vms.map(({ name, priority }) => [name, priority]),
    [
      ["a", 5],
      ["b", 0],
      ["d", 0],
    ],
  );
  assert.equal((await store.claim(alice))!.vm.name, "a");
});

test("two VMs can change names", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  const [one, two] = [vm("a"), vm("b")];
  await store.apply(plan([one, two]));
  const { changed } = await store.apply(
    plan([
      { ...one, name: "b" },
      { ...two, name: "a" },
    ]),
  );
  assert.deepEqual(changed, ["b", "a"]);
});

test("a VM that is taken out stops, keeps its state, and goes on where it was when it comes back", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  await store.apply(plan([vm("a")]));
  const lease = (await store.claim(alice))!;
  await store.push(lease, bundle("half"));
  const { released, stopping } = await store.apply(plan([]));
  assert.deepEqual([released, stopping], [["a"], ["a"]]);
  assert.deepEqual((await store.status()).vms, []);
  assert.equal(await store.renew(lease), "stop");
  assert.equal(await store.finish(lease, interrupted), true);
  assert.equal(await store.claim(bob), undefined);
  assert.deepEqual((await store.apply(plan([vm("a")]))).added, ["a"]);
  const again = (await store.claim(bob))!;
  assert.equal(Buffer.from((await store.pull(again))!.bytes).toString(), "half");
});

test("of VMs that are taken out, syncs are asked to stop, and a cutover goes on to its end", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  await store.apply(plan([vm("a"), vm("b", { priority: 9 })]));
  await store.cutover({ vms: ["b"] });
  const cutover = (await store.claim(alice))!;
  assert.deepEqual([cutover.vm.name, cutover.action], ["b", "cutover"]);
  const sync = (await store.claim(alice))!;
  const { released, stopping } = await store.apply(plan([]));
  assert.deepEqual([released.toSorted(), stopping], [["a", "b"], ["a"]]);
  assert.equal(await store.renew(sync), "stop");
  assert.equal(await store.renew(cutover), "go-on");
});

test("what is changed while it runs is scheduled by what it is now, and what had failed is tried again", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  await store.apply(plan([vm("a")]));
  const lease = (await store.claim(alice))!;
  await store.apply(plan([vm("a", { schedule: { kind: "every", everyMs: 60_000 } })]));
  await store.finish(lease, completed);
  const [status] = (await store.status()).vms;
  assert.equal(Date.parse(status!.nextRunAt!) - Date.parse(status!.syncs[0]!.at), 60_000);
  await fleet.sql("UPDATE vm SET sync_at = now()");
  await store.finish((await store.claim(alice))!, failed("target-too-small", 5));
  assert.equal(await store.claim(alice), undefined);
  await store.apply(plan([vm("a", { settings: { "nbd-port": "10810" } })]));
  assert.equal((await store.claim(alice))!.vm.settings["nbd-port"], "10810");
});

test("a VM that is synced once is not due again", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  await store.apply(plan([vm("a", { schedule: { kind: "once" } })]));
  await store.finish((await store.claim(alice))!, completed);
  assert.equal(await store.claim(alice), undefined);
  assert.match((await store.status()).vms[0]!.why!, /once/);
  await store.cutover({ all: true });
  assert.equal((await store.claim(alice))!.action, "cutover");
});

test("a limit that is lowered below what runs holds for those that come after", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  const vms = ["a", "b", "c"].map((name) => vm(name));
  await store.apply(plan(vms));
  const leases = [(await store.claim(alice))!, (await store.claim(alice))!];
  for (const lease of leases) assert.equal(await store.place(lease, at("host-1", 4)), "placed");
  const limits = { hostConnections: 5, datastoreRuns: 0, targetRuns: 0 };
  await store.apply(plan(vms, { limits }));
  const third = (await store.claim(alice))!;
  assert.equal(await store.place(third, at("host-1", 1)), "full");
  await store.finish(third, interrupted);
  await store.finish(leases[0]!, completed);
  const again = (await store.claim(alice))!;
  assert.equal(again.vm.name, "c");
  await assert.rejects(store.place(again, at("host-1", 6)), { code: "usage" });
});

test("of two plans that are applied at once one holds, whole", async () => {
  await using fleet = await LabFleet.on(server);
  await fleet.openNew();
  const stores = await Promise.all([1, 2, 3].map(() => fleet.open()));
  const planOf = (wave: string) =>
    Array.from(
      { length: 150 },
      (_, index): PlannedVm =>
        vm(`${index % 50 === 0 ? wave : ""}${index}`, { wave, vmPath: `/DC/vm/${index}` }),
    );
  for (let round = 0; round < 5; round++) {
    await Promise.all(stores.map((store, index) => store.apply(plan(planOf(`w${index}`)))));
    const { vms } = await stores[0]!.status({ syncsMax: 0 });
    assert.equal(vms.length, 150);
    assert.equal(new Set(vms.map(({ wave }) => wave)).size, 1);
  }
});

test("a window that has closed before a VM's turn gives it the first turn in the next", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  const now = new Date();
  const minute = ((now.getUTCDay() + 6) % 7) * 1440 + now.getUTCHours() * 60 + now.getUTCMinutes();
  const inAnHour = {
    fromMinute: (minute + 60) % 10_080,
    toMinute: (minute + 120) % 10_080 || 10_080,
    timeZone: "UTC",
  };
  await store.apply(plan([vm("a", { syncWindows: [inAnHour] })]));
  assert.equal(await store.claim(alice), undefined);
  const [planned] = (await store.status()).vms;
  assert.equal(planned!.state, "waiting");
  const aheadMs = Date.parse(planned!.nextRunAt!) - now.getTime();
  assert.ok(aheadMs > 3_480_000 && aheadMs <= 3_600_000, `${aheadMs} ms`);
  await fleet.sql(
    "UPDATE vm SET sync_at = now() - interval '2 h', waits_since = now() - interval '2 h', sync_until = now() - interval '1 h'",
  );
  assert.equal(await store.claim(alice), undefined);
  const [moved] = (await store.status()).vms;
  assert.equal(moved!.nextRunAt, planned!.nextRunAt);
  assert.equal(await fleet.sql("SELECT waits_since < now() - interval '1 h' FROM vm"), "t");
});
