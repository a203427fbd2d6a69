import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { underWayMs } from "../../src/state/late-writes.ts";
import { State } from "../../src/state/state.ts";
import type { VmIdentity } from "../../src/state/vm-identity.ts";
import { changeId, temporaryDirectory, vm } from "./helpers.ts";

const other: VmIdentity = { ...vm, instanceUuid: "5029aaaa-0000-0000-0000-0d1f6a2b7c22" };
const target = { deviceKey: 2000, identity: "nbd.example:10809#a" };

/** As if everything that was noted had been noted so much earlier. */
function age(stateDir: string, ms: number): void {
  const db = new DatabaseSync(join(stateDir, "migratekit.db"));
  db.exec(`UPDATE late_write SET last_sign_ms = last_sign_ms - ${ms}`);
  db.close();
}

test("a writer that ended well leaves nothing behind", (t) => {
  using state = State.open(temporaryDirectory(t));
  assert.equal(state.lateWrites.begin(vm, target, changeId(7)), undefined);
  state.lateWrites.sign(target);
  state.lateWrites.end(vm, target, changeId(7), false);
  assert.equal(state.lateWrites.begin(vm, target, changeId(8)), undefined);
});

test("one that ended well and left requests on their way is reckoned with", (t) => {
  using state = State.open(temporaryDirectory(t));
  state.lateWrites.begin(vm, target, changeId(7));
  state.lateWrites.end(vm, target, changeId(7), true);
  assert.equal(state.lateWrites.begin(vm, target, changeId(8))?.baseChangeId, changeId(7));
});

test("of several that were interrupted the first one's snapshot counts, and the last one's time", (t) => {
  const stateDir = temporaryDirectory(t);
  using state = State.open(stateDir);
  state.lateWrites.begin(vm, target, changeId(7));
  age(stateDir, underWayMs - 60_000);
  const before = Date.now();
  assert.ok((state.lateWrites.begin(vm, target, changeId(8))?.lastSignMs ?? before) < before);
  const earlier = state.lateWrites.begin(vm, target, changeId(9));
  assert.equal(earlier?.baseChangeId, changeId(7));
  assert.ok(earlier.lastSignMs >= before);
});

test("twenty minutes after its last sign nothing of a writer is under way", (t) => {
  const stateDir = temporaryDirectory(t);
  using state = State.open(stateDir);
  state.lateWrites.begin(vm, target, changeId(7));
  age(stateDir, underWayMs + 1);
  assert.equal(state.lateWrites.begin(vm, target, changeId(8)), undefined);
  assert.equal(state.lateWrites.begin(vm, target, changeId(9))?.baseChangeId, changeId(8));
});

test("what may have landed on a later writer's bytes is looked at, however long ago that was", (t) => {
  const stateDir = temporaryDirectory(t);
  using state = State.open(stateDir);
  state.lateWrites.begin(vm, target, changeId(7));
  state.lateWrites.begin(vm, target, changeId(8));
  age(stateDir, 24 * 3_600_000);
  assert.equal(state.lateWrites.begin(vm, target, changeId(9))?.baseChangeId, changeId(7));
});

test("what another disk, or one without a change ID, has written may be anywhere", (t) => {
  using state = State.open(temporaryDirectory(t));
  const writers: [VmIdentity, number, string | undefined][] = [
    [vm, 2000, undefined],
    [vm, 2001, changeId(7)],
    [other, 2000, changeId(7)],
  ];
  for (const [index, [writer, deviceKey, base]] of writers.entries()) {
    const at = { identity: `nbd.example:10809#${index}` };
    state.lateWrites.begin(writer, { ...at, deviceKey }, base);
    const earlier = state.lateWrites.begin(vm, { ...at, deviceKey: 2000 }, changeId(9));
    assert.ok(earlier && earlier.baseChangeId === undefined, `${index}`);
    const next = state.lateWrites.begin(vm, { ...at, deviceKey: 2000 }, changeId(10));
    assert.ok(next && next.baseChangeId === undefined, `${index}, once more`);
  }
});
