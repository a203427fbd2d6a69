// A VM's way through the fleet: planned, claimed, run, given back, cut over.

import assert from "node:assert/strict";
import { after, test } from "node:test";
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

test("a VM is claimed by one worker, and again when its schedule says so", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  assert.deepEqual(await store.apply(plan([vm("web01")])), {
    added: ["web01"],
    changed: [],
    unchanged: 0,
    released: [],
    stopping: [],
  });
  const lease = (await store.claim(alice))!;
  assert.equal(lease.vm.name, "web01");
  assert.equal(lease.action, "migrate");
  assert.equal(lease.takenOver, false);
  assert.equal(lease.hostConnections, 24);
  assert.equal(await store.claim(bob), undefined);
  assert.equal(await store.renew(lease), "go-on");
  assert.equal(await store.place(lease, at("host-1", 4)), "placed");
  assert.equal(await store.finish(lease, completed), true);
  assert.equal(await store.claim(bob), undefined);
  const [status] = (await store.status()).vms;
  assert.equal(status!.state, "waiting");
  assert.equal(status!.deltaBytes, 4096);
  const pauseMs = Date.parse(status!.nextRunAt!) - Date.parse(status!.syncs[0]!.at);
  assert.equal(pauseMs, 900_000);
  await fleet.sql("UPDATE vm SET sync_at = now()");
  const second = (await store.claim(bob))!;
  assert.ok(second.token > lease.token);
});

test("of two claims at once, of one worker too, each gets a VM of its own", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  await store.apply(plan([vm("a"), vm("b"), vm("c")]));
  const leases = await Promise.all([1, 2, 3, 4].map(() => store.claim(alice)));
  assert.deepEqual(leases.map((lease) => lease?.vm.name).sort(), ["a", "b", "c", undefined]);
});

test("a state goes with its VM, and only who holds the lease changes it", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  await store.apply(plan([vm("web01")]));
  const first = (await store.claim(alice))!;
  assert.equal(await store.pull(first), undefined);
  assert.equal(await store.push(first, bundle("one")), true);
  assert.equal(await store.push(first, bundle("two")), true);
  assert.equal(await store.finish(first, interrupted), true);
  const second = (await store.claim(bob))!;
  assert.deepEqual(
    { ...(await store.pull(second)), bytes: undefined },
    { ...bundle("two"), bytes: undefined },
  );
  for (const stale of [
    first,
    { ...second, nonce: first.nonce },
    { ...second, token: first.token },
  ]) {
    assert.equal(await store.renew(stale), "lost");
    assert.equal(await store.push(stale, bundle("three")), false);
    assert.equal(await store.place(stale, at("host-1", 1)), "lost");
  }
  assert.equal(await store.finish({ ...second, token: first.token }, completed), false);
  assert.equal(Buffer.from((await store.pull(second))!.bytes).toString(), "two");
  assert.equal(
    await store.finish(first, failed("usage")),
    true,
    "it was finished by itself before",
  );
  assert.equal(await store.renew(second), "go-on");
});

test("a damaged state is an error, and not 'no state'", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  await store.apply(plan([vm("web01")]));
  const lease = (await store.claim(alice))!;
  await store.push(lease, bundle("one"));
  await fleet.sql("UPDATE state SET bundle = 'onf'");
  await assert.rejects(store.pull(lease), { code: "state-unusable" });
});

test("what passes by itself is tried again after 1, 2, 4 minutes and at most an hour; the rest waits for a retry", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  await store.apply(plan([vm("web01")]));
  const pauses: number[] = [];
  for (let count = 0; count < 8; count++) {
    const lease = (await store.claim(alice))!;
    await store.finish(lease, failed("source-unreachable", 4));
    const [status] = (await store.status()).vms;
    assert.equal(status!.state, "waiting");
    assert.equal(status!.failures, count + 1);
    assert.equal(status!.lastError!.code, "source-unreachable");
    pauses.push(
      Math.round((Date.parse(status!.nextRunAt!) - Date.parse(status!.lastError!.at)) / 60_000),
    );
    await fleet.sql("UPDATE vm SET sync_at = now()");
  }
  assert.deepEqual(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
  await store.finish((await store.claim(alice))!, failed("vm-unsuitable"));
  const [status] = (await store.status()).vms;
  assert.equal(status!.state, "failed");
  assert.equal(status!.lastError!.remedy, "mend it");
  assert.equal(await store.claim(alice), undefined);
  assert.deepEqual(await store.retry({ vms: ["web01"] }), ["web01"]);
  const again = (await store.claim(alice))!;
  await store.finish(again, completed);
  assert.equal((await store.status()).vms[0]!.failures, 0);
});

test("a cutover waits for those it comes after, while its syncs go on", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  await store.apply(plan([vm("app", { after: ["db"] }), vm("db")]));
  for (const _ of ["app", "db"]) await store.finish((await store.claim(alice))!, completed);
  assert.deepEqual(await store.cutover({ vms: ["app"] }), ["app"]);
  assert.equal(await store.claim(alice), undefined);
  const blocked = (await store.status({ vms: ["app"] })).vms[0]!;
  assert.equal(blocked.state, "blocked");
  assert.match(blocked.why!, /after that of db/);
  await fleet.sql("UPDATE vm SET sync_at = now() WHERE name = 'app'");
  const sync = (await store.claim(alice))!;
  assert.deepEqual([sync.vm.name, sync.action], ["app", "migrate"]);
  await store.finish(sync, completed);
  assert.deepEqual(await store.cutover({ all: true }), ["db"]);
  const first = (await store.claim(alice))!;
  assert.deepEqual([first.vm.name, first.action], ["db", "cutover"]);
  assert.equal(await store.claim(bob), undefined);
  await store.finish(first, completed);
  const second = (await store.claim(bob))!;
  assert.deepEqual([second.vm.name, second.action], ["app", "cutover"]);
  await store.finish(second, completed);
  const { vms, waves } = await store.status();
  assert.deepEqual(
    vms.map(({ state }) => state),
    ["cut-over", "cut-over"],
  );
  assert.deepEqual([waves[0]!.cutOver, waves[0]!.inSync], [2, 0]);
  assert.equal(await store.claim(alice), undefined);
});
