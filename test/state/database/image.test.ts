import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { packDatabase, restoreDatabase } from "../../../src/state/database/image.ts";
import { State } from "../../../src/state/state.ts";
import { changeId, refusal, temporaryDirectory, vm } from "../helpers.ts";

const endpoint = "vcenter.example:443";
const pin = "AB".repeat(32);

/** A state that knows something, still open. */
function used(stateDir: string): State {
  const state = State.open(stateDir);
  state.trust.writePin(endpoint, pin);
  state.records.writeDiskRecord(vm, {
    deviceKey: 2000,
    changeId: changeId(7),
    capacityBytes: 1 << 20,
    targetUri: "nbd.example:10809#a",
    targetSizeBytes: 1 << 20,
    syncedAt: "2025-01-01T00:00:00.000Z",
    samples: [{ offset: 0, length: 512, digest: "ab" }],
  });
  return state;
}

test("what a state knows goes with its image, what one machine trusts does not", (t) => {
  const [from, to] = [temporaryDirectory(t), temporaryDirectory(t)];
  using state = used(from);
  restoreDatabase(to, packDatabase(from));
  using restored = State.open(to);
  assert.deepEqual(
    restored.records.readDiskRecord(vm, 2000),
    state.records.readDiskRecord(vm, 2000),
  );
  assert.equal(restored.trust.readPin(endpoint), undefined);
  assert.notEqual(state.trust.readPin(endpoint), undefined, "it was taken from the state itself");
});

test("a state that is packed in the middle of a transaction is as it was before, and keeps its lock", (t) => {
  const [from, to] = [temporaryDirectory(t), temporaryDirectory(t)];
  using state = used(from);
  state.database.transaction("Testing", () => {
    state.database.run("DELETE FROM disk");
    restoreDatabase(to, packDatabase(from));
  });
  using restored = State.open(to);
  assert.notEqual(restored.records.readDiskRecord(vm, 2000), undefined);
  assert.equal(state.records.readDiskRecord(vm, 2000), undefined);
});

test("an image that is damaged, cut off or of a newer migratekit is refused, and nothing is made of it", (t) => {
  const from = temporaryDirectory(t);
  using _state = used(from);
  const image = packDatabase(from);
  const bytes = Uint8Array.from(image.bytes);
  bytes[bytes.length >> 1]! ^= 1;
  for (const wrong of [
    { ...image, bytes },
    { ...image, bytes: image.bytes.subarray(0, -1) },
    { ...image, schemaVersion: image.schemaVersion + 1 },
  ]) {
    const to = temporaryDirectory(t);
    refusal(() => restoreDatabase(to, wrong), "state-unusable");
    assert.equal(existsSync(join(to, "migratekit.db")), false);
  }
});

test("what another machine noted of its writes counts as noted now, whatever its clock said", (t) => {
  using state = State.open(temporaryDirectory(t));
  const target = { deviceKey: 2000, identity: "nbd.example:10809#a" };
  state.lateWrites.begin(vm, target, changeId(3));
  state.database.transaction("Testing", () =>
    state.database.run("UPDATE late_write SET last_sign_ms = 5"),
  );
  state.lateWrites.signAll();
  const earlier = state.lateWrites.begin(vm, target, changeId(4));
  assert.ok(earlier && Date.now() - earlier.lastSignMs < 60_000);
  assert.equal(earlier.baseChangeId, changeId(3));
});
