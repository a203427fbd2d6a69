// The fleet's tables: made and upgraded by several at once, refused where they are another's, and what a worker may do.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { FleetDatabase } from "../../../src/fleet/database/database.ts";
import { initFleet } from "../../../src/fleet/database/init.ts";
import { schemaSteps } from "../../../src/fleet/database/schema/schema.ts";
import { createLogger } from "../../../src/logger.ts";
import { LabPostgres } from "../../lab/postgres.ts";
import { until } from "../../until.ts";
import { alice, at, bob, bundle, completed, LabFleet, plan, vm } from "./fleet.ts";

const server = await LabPostgres.start();
after(() => server[Symbol.asyncDispose]());

test("six that make the tables at once make them once", async () => {
  await using fleet = await LabFleet.on(server);
  const stores = await Promise.all(Array.from({ length: 6 }, () => fleet.open()));
  const results = await Promise.all(stores.map((store) => store.init()));
  assert.deepEqual(new Set(results.map(({ version }) => version)), new Set([schemaSteps.length]));
  assert.ok(results.every(({ upgradedFrom }) => upgradedFrom === undefined));
  await stores[0]!.apply(plan([vm("web01")]));
});

test("six that upgrade at once do it once; a worker of the version before ends what it has and takes no more", async () => {
  await using fleet = await LabFleet.on(server);
  const old = await fleet.openNew();
  await old.apply(plan([vm("web01"), vm("web02")]));
  const lease = (await old.claim(alice))!;
  const steps = [...schemaSteps, "CREATE TABLE added ()", "ALTER TABLE vm ADD COLUMN more text"];
  const upgrades = await Promise.all(
    Array.from({ length: 6 }, async () => {
      await using database = new FleetDatabase(fleet.url, undefined, silent, {
        application: "test",
      });
      return await database.transaction((queries) => initFleet(queries, {}, steps));
    }),
  );
  assert.deepEqual(
    upgrades.map(({ upgradedFrom }) => upgradedFrom).filter((from) => from !== undefined),
    [schemaSteps.length],
  );
  assert.equal(await fleet.sql("SELECT version FROM fleet"), String(steps.length));
  await assert.rejects(old.claim(alice), { code: "fleet-database-schema" });
  assert.equal(await fleet.sql("SELECT count(*) FROM lease"), "1");
  await old.register({ ...alice, version: "1", parallel: 2 });
  assert.equal(await old.renew(lease), "go-on");
  assert.equal(await old.place(lease, at("host-1", 2)), "placed");
  assert.equal(await old.push(lease, bundle("one")), true);
  assert.equal(await old.finish(lease, completed), true);
  await old.unregister("alice");
});

const silent = createLogger({ level: "silent", pretty: false });

test("a newer schema, an older one, none and a foreign one are refused, each with its way out", async () => {
  await using fleet = await LabFleet.on(server);
  const refused = async (message: RegExp, remedy: RegExp) => {
    const store = await fleet.open();
    await assert.rejects(store.claim(alice), (error: Error & { code: string; remedy: string }) => {
      assert.equal(error.code, "fleet-database-schema");
      assert.match(error.message, message);
      assert.match(error.remedy, remedy);
      return true;
    });
  };
  await refused(/holds no fleet/, /fleet init/);
  const store = await fleet.openNew();
  await fleet.sql("UPDATE fleet SET version = 99");
  await refused(/version 99/, /newer migratekit/);
  await assert.rejects(store.init(), { code: "fleet-database-schema" });
  await fleet.sql("UPDATE fleet SET version = 0");
  await refused(/version 0/, /fleet init/);
  await fleet.sql(
    "DROP SCHEMA migratekit CASCADE; CREATE SCHEMA migratekit; CREATE TABLE migratekit.theirs ()",
  );
  await refused(/not of a fleet/, /another database/);
  await assert.rejects((await fleet.open()).init(), { code: "fleet-database-schema" });
});

test("a worker's role may work and look, and no more", async () => {
  await using fleet = await LabFleet.on(server);
  const owner = await fleet.openNew();
  await assert.rejects(owner.init({ workerRole: "worker" }), /CREATE ROLE|no such role/);
  await server.psql("postgres", "CREATE ROLE worker LOGIN");
  await owner.init({ workerRole: "worker" });
  await owner.apply(plan([vm("web01")]));
  const url = server.url(fleet.name, "worker");
  const store = await fleet.open(url);
  await store.register({ ...alice, version: "1", parallel: 1 });
  const lease = (await store.claim(alice))!;
  assert.equal(await store.place(lease, at("host-1", 2)), "placed");
  assert.equal(await store.push(lease, bundle("one")), true);
  assert.equal(Buffer.from((await store.pull(lease))!.bytes).toString(), "one");
  assert.equal(await store.renew(lease), "go-on");
  assert.equal((await store.status()).vms[0]!.state, "running");
  assert.equal(await store.finish(lease, completed), true);
  await store.unregister("alice");
  for (const refused of [
    () => store.apply(plan([])),
    () => store.pause({ all: true }),
    () => store.cutover({ all: true }),
    () => store.init(),
  ]) {
    await assert.rejects(refused, { code: "fleet-database-permission" });
  }
  for (const statement of [
    "UPDATE migratekit.vm SET priority = 1",
    "DELETE FROM migratekit.lease",
    "UPDATE migratekit.place SET used = 0",
    "INSERT INTO migratekit.state VALUES (1, 1, now(), 1, '', '')",
    "CREATE TABLE migratekit.mine ()",
    "DROP TABLE migratekit.vm",
    "SELECT migratekit.reap_one()",
    "SELECT migratekit.count_places(1, 1, 1, '{}')",
  ]) {
    await assert.rejects(
      server.psql(fleet.name, statement, "worker"),
      /permission denied|must be owner/,
    );
  }
});

test("a worker's role may use what a later version brings", async () => {
  await using fleet = await LabFleet.on(server);
  const owner = await fleet.openNew();
  await server.psql("postgres", "CREATE ROLE later LOGIN");
  await owner.init({ workerRole: "later" });
  await using database = new FleetDatabase(fleet.url, undefined, silent, { application: "test" });
  const steps = [...schemaSteps, "CREATE TABLE added AS SELECT 5 AS n"];
  await database.transaction((queries) => initFleet(queries, {}, steps));
  assert.equal(await server.psql(fleet.name, "SELECT n FROM migratekit.added", "later"), "5");
});

test("after a restored backup nobody claims before what it does not know has ended, and old tokens are worth nothing", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew(1_000, 500);
  await store.apply(plan([vm("web01"), vm("web02")]));
  const before = (await store.claim(alice))!;
  await store.place(before, at("host-1", 3));
  const dump = await server.dump(fleet.name);
  const after = (await store.claim(bob))!; // the backup knows nothing of it
  await store[Symbol.asyncDispose]();
  const restored = await LabFleet.on(server);
  await server.restore(restored.name, dump);
  await restored.server.psql(restored.name, `REASSIGN OWNED BY ${fleet.name} TO ${restored.name}`);
  const again = await restored.open();
  const restoredMs = performance.now();
  await again.init({ restored: true });
  for (const lease of [before, after]) assert.equal(await again.renew(lease), "lost");
  assert.equal((await again.status()).hosts[0]!.used, 0);
  let lease = await again.claim(alice);
  assert.equal(lease, undefined);
  assert.match((await again.status()).vms[0]!.why!, /restored; runs begin at/);
  await until("claims begin", async () => (lease = await again.claim(alice)));
  assert.ok(performance.now() - restoredMs >= 1_500, "not before its time");
  assert.ok(lease!.token > after.token + 1_000_000n);
  assert.equal(lease!.takenOver, true, "no state is believed to be the newest");
  await restored[Symbol.asyncDispose]();
});
