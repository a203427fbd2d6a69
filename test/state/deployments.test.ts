import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { State } from "../../src/state/state.ts";
import { refusal, temporaryDirectory, vm } from "./helpers.ts";

const begun = {
  runId: "r1",
  applianceId: "a1",
  volumes: [
    { deviceKey: 2001, id: "v1" },
    { deviceKey: 2000, id: "v2" },
  ],
  instanceName: "web-1-5029d1",
  downSince: "2026-01-31T19:05:02.000Z",
};

test("what is learned of a machine on its way is added to what was begun, for its purpose alone", (t) => {
  using state = State.open(temporaryDirectory(t));
  const { deployments } = state;
  assert.equal(deployments.read(vm, "cutover"), undefined);
  deployments.begin(vm, "cutover", begun);
  deployments.begin(vm, "rehearsal", { ...begun, runId: "r2" });
  deployments.learn(vm, "cutover", { instanceId: "i1" });
  deployments.learn(vm, "cutover", { ownRootId: "o1" });
  deployments.learn(vm, "cutover", { started: true });
  deployments.learn(vm, "cutover", { goal: "undo", aliveAt: "2026-01-31T19:09:00.000Z" });
  const { since, ...found } = deployments.read(vm, "cutover")!;
  assert.deepEqual(found, {
    ...{ ...begun, goal: "undo", instanceId: "i1", ownRootId: "o1", started: true },
    aliveAt: "2026-01-31T19:09:00.000Z",
  });
  assert.ok(Math.abs(Date.now() - Date.parse(since)) < 60_000);
  const { since: _, ...other } = deployments.read(vm, "rehearsal")!;
  assert.deepEqual(other, { ...begun, runId: "r2", goal: "deploy", started: false });
  deployments.forget(vm, "rehearsal");
  assert.equal(deployments.read(vm, "rehearsal"), undefined);
  assert.equal(deployments.read({ ...vm, instanceUuid: "another" }, "cutover"), undefined);
});

test("one that is begun anew has nothing of the one before", (t) => {
  using state = State.open(temporaryDirectory(t));
  const { deployments } = state;
  deployments.begin(vm, "cutover", begun);
  deployments.learn(vm, "cutover", {
    instanceId: "i1",
    ownRootId: "o1",
    started: true,
    goal: "undo",
  });
  deployments.begin(vm, "cutover", { ...begun, instanceName: "other" });
  const { since: _, ...found } = deployments.read(vm, "cutover")!;
  assert.deepEqual(found, { ...begun, instanceName: "other", goal: "deploy", started: false });
});

test("volumes of another form are damage", (t) => {
  for (const text of ["{", "{}", "[1]", '[{"id":"x"}]', '[{"device_key":"1","id":"x"}]']) {
    const dir = temporaryDirectory(t);
    const state = State.open(dir);
    state.deployments.begin(vm, "cutover", begun);
    state.close();
    const db = new DatabaseSync(join(dir, "migratekit.db"));
    db.prepare("UPDATE deployment SET volumes = ?").run(text);
    db.close();
    using again = State.open(dir);
    assert.match(
      refusal(() => again.deployments.read(vm, "cutover")).message,
      /of a machine in CloudStack|column volumes/,
    );
  }
});
