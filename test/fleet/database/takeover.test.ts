// What becomes of a lease whose worker is gone, and of one whose worker only could not be heard.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { FleetStore } from "../../../src/fleet/database/store.ts";
import type { Lease } from "../../../src/fleet/fleet.ts";
import { LabPostgres } from "../../lab/postgres.ts";
import { until } from "../../until.ts";
import { alice, at, bob, bundle, completed, failed, LabFleet, plan, vm } from "./fleet.ts";

const server = await LabPostgres.start();
after(() => server[Symbol.asyncDispose]());

const [ttlMs, graceMs] = [1_500, 500];

/** Alice has claimed web01 and is gone: her lease ended long ago, and the others were heard of all the time. */
async function withoutAlice(fleet: LabFleet, store: FleetStore): Promise<Lease> {
  const lease = (await store.claim(alice))!;
  await fleet.sql(`UPDATE lease SET taken_at = now() - interval '1 hour', expires_at = now() - interval '50 min';
    UPDATE pulse SET steady_since = now() - interval '2 hours'`);
  return lease;
}

/** For longer than a takeover takes. */
async function waitInVain(store: FleetStore): Promise<void> {
  const endMs = performance.now() + 2 * (ttlMs + graceMs);
  await until("a takeover would have been", async () => {
    assert.equal(await store.claim(bob), undefined);
    return performance.now() > endMs;
  });
}

test("a dead worker's VM goes to another after its lease and the grace, with its state; the old token changes nothing", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew(ttlMs, graceMs);
  await store.apply(plan([vm("web01")]));
  const lost = (await store.claim(alice))!;
  await store.push(lost, bundle("half done"));
  const claimedMs = performance.now();
  let lease: Lease | undefined;
  await until("bob takes over", async () => (lease = await store.claim(bob)));
  assert.ok(performance.now() - claimedMs >= ttlMs + graceMs, "not before its time");
  assert.equal(lease!.takenOver, true);
  assert.equal(Buffer.from((await store.pull(lease!))!.bytes).toString(), "half done");
  assert.equal(await store.renew(lost), "lost");
  assert.equal(await store.push(lost, bundle("late")), false);
  assert.equal(await store.finish(lost, completed), false);
  await store.finish(lease!, completed);
  const [status] = (await store.status()).vms;
  assert.deepEqual(
    status!.syncs.map((run) => run.status),
    ["lost", "completed"],
  );
  await fleet.sql("UPDATE vm SET sync_at = now()");
  assert.equal((await store.claim(bob))!.takenOver, false, "a completed run makes it clean");
});

test("a worker that was not heard of goes on with its lease as long as nobody has taken over", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  await store.apply(plan([vm("web01")]));
  const lease = await withoutAlice(fleet, store);
  assert.equal((await store.status()).vms[0]!.state, "takeover");
  assert.equal(await store.renew(lease), "go-on");
  assert.equal(await store.claim(bob), undefined);
  assert.equal((await store.status()).vms[0]!.state, "running");
  assert.equal(await store.finish(lease, completed), true);
});

test("where nobody knows when targets let go of a connection, an operator's word is waited for", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew(ttlMs, graceMs);
  const { targetDropMs: _, ...unknown } = plan([vm("web01")]);
  await store.apply(unknown);
  const lost = (await store.claim(alice))!;
  await waitInVain(store);
  assert.match((await store.status()).vms[0]!.why!, /fleet resume --takeover/);
  assert.deepEqual(await store.confirmTakeover({ vms: ["web01"] }), ["web01"]);
  await until("bob takes over", async () => (await store.claim(bob)) !== undefined);
  assert.equal(await store.renew(lost), "lost");
});

test("an operator's word is for the lease that was lost, not for the next one", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew(ttlMs, graceMs);
  const { targetDropMs: _, ...unknown } = plan([vm("web01")]);
  await store.apply(unknown);
  const isTakeover = async () => (await store.status()).vms[0]!.state === "takeover";
  const lease = (await store.claim(alice))!;
  await until("alice is not heard of", isTakeover);
  assert.deepEqual(await store.confirmTakeover({ all: true }), ["web01"]);
  assert.equal(await store.renew(lease), "go-on", "she is back");
  await store.finish(lease, failed("source-io", 4));
  await store.retry({ all: true });
  await store.claim(alice);
  await until("alice is not heard of again", isTakeover);
  await waitInVain(store);
  assert.deepEqual(await store.confirmTakeover({ waves: ["1"] }), ["web01"]);
});

test("a lease that is alive cannot be talked away", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  await store.apply(plan([vm("web01")]));
  await store.claim(alice);
  assert.deepEqual(await store.confirmTakeover({ all: true }), []);
});

test("after a restart of the server leases get their whole life and the grace to be renewed", async () => {
  await using own = await LabPostgres.start();
  await using fleet = await LabFleet.on(own);
  const store = await fleet.openNew(3_000, 500);
  await store.apply(plan([vm("web01"), vm("web02")]));
  const kept = (await store.claim(alice))!;
  await store.claim(alice);
  await fleet.sql(`UPDATE lease SET expires_at = now() - interval '1 hour';
    UPDATE pulse SET beat_at = now(), steady_since = now() - interval '2 hours'`);
  await own.restart();
  const startedMs = performance.now();
  // The first call may meet a connection that was cut.
  await until("the database answers", () =>
    store.claim(bob).then(
      () => true,
      () => false,
    ),
  );
  assert.equal(await store.renew(kept), "go-on");
  await until("the other VM is taken over", async () => (await store.claim(bob)) !== undefined);
  assert.ok(performance.now() - startedMs >= 3_000, "not before its time");
  assert.equal(await store.renew(kept), "go-on");
});

test("after a time in which nobody could be heard, leases get their whole life to be renewed", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew(2_000, 500);
  await store.apply(plan([vm("web01")]));
  const lease = await withoutAlice(fleet, store);
  // As it was before the database hung for an hour: the server was up, and nobody could call it.
  await fleet.sql("UPDATE pulse SET beat_at = now() - interval '55 min'");
  const backMs = performance.now();
  assert.equal(await store.claim(bob), undefined);
  assert.equal(await store.renew(lease), "go-on");
  await fleet.sql("UPDATE lease SET expires_at = now() - interval '50 min'");
  await until("bob takes over", async () => (await store.claim(bob)) !== undefined);
  assert.ok(performance.now() - backMs >= 2_500, "not before its time");
});

test("a paused VM's dead lease gives back what it was counted by", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew(ttlMs, graceMs);
  await store.apply(plan([vm("web01")]));
  const lease = (await store.claim(alice))!;
  await store.place(lease, at("host-1", 20));
  await store.pause({ vms: ["web01"] });
  assert.equal(await store.renew(lease), "stop");
  assert.equal((await store.status()).hosts[0]!.used, 20);
  await until("the host is free", async () => {
    assert.equal(await store.claim(bob), undefined);
    return (await store.status()).hosts[0]!.used === 0;
  });
  assert.equal((await store.status()).vms[0]!.state, "paused");
});

test("a VM with which workers die again and again comes with pauses, and its cutover goes to an operator", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew(ttlMs, graceMs);
  await store.apply(plan([vm("web01")]));
  const claims = (action: string) =>
    until(`it is claimed for ${action}`, async () => (await store.claim(bob))?.action === action);
  const failures = (count: number) =>
    until(`it was lost ${count} times`, async () => {
      assert.equal(await store.claim(bob), undefined);
      return (await store.status()).vms[0]!.failures === count;
    });
  await claims("migrate");
  await claims("migrate"); // the first time at once
  await failures(2);
  await store.retry({ all: true });
  await fleet.sql("UPDATE vm SET sync_at = now() + interval '1 hour'");
  await store.cutover({ all: true });
  await claims("cutover");
  await claims("cutover");
  await failures(2);
  await fleet.sql("UPDATE vm SET cutover_at = now()");
  await claims("cutover");
  await failures(3);
  assert.equal((await store.status()).vms[0]!.state, "failed");
});
