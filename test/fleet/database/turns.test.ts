// Whose turn it is, by the cases that the forecast is held to, too; and what the database alone decides.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { firstSync } from "../../../src/fleet/database/turns.ts";
import { LabPostgres } from "../../lab/postgres.ts";
import { appliedAt, firstTurns, turns } from "../turns.ts";
import { alice, completed, LabFleet, plan, vm } from "./fleet.ts";

const server = await LabPostgres.start();
after(() => server[Symbol.asyncDispose]());

for (const { title, vm: more, firstAt } of firstTurns) {
  test(`first due: ${title}`, () => {
    const { at } = firstSync(vm("a", more), new Date(appliedAt));
    assert.equal(at.toISOString(), `${firstAt}:00.000Z`);
  });
}

/** All that may be claimed, each given back as completed. */
async function claimed(store: Awaited<ReturnType<LabFleet["openNew"]>>): Promise<string[]> {
  const names: string[] = [];
  for (let lease = await store.claim(alice); lease; lease = await store.claim(alice)) {
    names.push(lease.vm.name);
    await store.finish(lease, completed);
  }
  return names;
}

for (const { title, vms, order } of turns) {
  test(title, async () => {
    await using fleet = await LabFleet.on(server);
    const store = await fleet.openNew();
    await store.apply(
      plan(
        vms.map(({ name, wave = "1", priority = 0 }) =>
          vm(name, { wave, priority, schedule: { kind: "once" } }),
        ),
      ),
    );
    const asked = vms.filter((each) => each.asked).map(({ name }) => name);
    for (const name of asked) {
      await fleet.sql(`UPDATE vm SET synced_at = now(), sync_at = NULL WHERE name = '${name}'`);
    }
    if (asked.length > 0) await store.cutover({ vms: asked });
    assert.deepEqual(await claimed(store), order);
  });
}

test("VMs in sync keep their schedule before new first copies, and no first copy waits for more than an hour for them", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  await store.apply(plan(["sync1", "sync2", "new1", "new2"].map((name) => vm(name))));
  const due = (name: string, minutes: number) =>
    fleet.sql(
      `UPDATE vm SET sync_at = now() - interval '${minutes} min' ${name.startsWith("sync") ? ", synced_at = now()" : ""}
        WHERE name = '${name}'`,
    );
  const begun = (minutes: number) =>
    fleet.sql(`UPDATE line SET first_copy_at = now() - interval '${minutes} min'`);
  // They were due long before, but one of them was begun a moment ago.
  for (const [name, minutes] of [
    ["sync1", 2],
    ["sync2", 1],
    ["new1", 500],
    ["new2", 400],
  ] as const) {
    await due(name, minutes);
  }
  await begun(5);
  assert.deepEqual(await claimed(store), ["sync1", "sync2", "new1", "new2"]);
  await fleet.sql("UPDATE vm SET synced_at = NULL WHERE name LIKE 'new%'");
  for (const name of ["sync1", "sync2", "new1", "new2"]) await due(name, 1);
  await due("new1", 500);
  await due("new2", 400);
  await begun(90);
  assert.deepEqual(
    await claimed(store),
    ["new1", "sync1", "sync2", "new2"],
    "one, and then not the next",
  );
});

test("a plan that names its waves in another order is another order", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  const [a, b] = [vm("a", { wave: "1" }), vm("b", { wave: "2" })];
  await store.apply(plan([a, b]));
  assert.equal((await store.apply(plan([b, a]))).unchanged, 2);
  assert.deepEqual(await claimed(store), ["b", "a"]);
});
