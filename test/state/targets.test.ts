import assert from "node:assert/strict";
import { test } from "node:test";
import { State } from "../../src/state/state.ts";
import type { DiskTarget } from "../../src/state/targets.ts";
import type { VmIdentity } from "../../src/state/vm-identity.ts";
import { changeId, refusal, temporaryDirectory, vm } from "./helpers.ts";

const other: VmIdentity = { ...vm, instanceUuid: "5029aaaa-0000-0000-0000-0d1f6a2b7c22" };
const target: DiskTarget = { deviceKey: 2000, names: ["nbd.example:10809#a", "192.0.2.7:10809#a"] };

function remember(state: State, at: VmIdentity, deviceKey = 2000) {
  state.records.writeDiskRecord(at, {
    deviceKey,
    changeId: changeId(7),
    capacityBytes: 1 << 20,
    targetUri: target.names[0]!,
    targetSizeBytes: 1 << 20,
    syncedAt: "2025-01-01T00:00:00.000Z",
    samples: [{ offset: 0, length: 512, digest: "ab" }],
  });
}

test("a target belongs to the disk that claimed it first, under each of its names, and for good", (t) => {
  const stateDir = temporaryDirectory(t);
  {
    using state = State.open(stateDir);
    state.targets.claim(vm, target, "run-1");
    state.targets.claim(vm, target, "run-2");
    state.targets.claim(vm, { deviceKey: 2000, names: ["nbd.example:10809#elsewhere"] }, "run-3");
  }
  using state = State.open(stateDir);
  const claims: [VmIdentity, DiskTarget][] = [
    [other, { deviceKey: 2000, names: ["192.0.2.7:10809#a"] }],
    [other, { deviceKey: 2001, names: ["cname.example:10809#a", "192.0.2.7:10809#a"] }],
    [vm, { ...target, deviceKey: 2001 }],
  ];
  for (const [claimant, wanted] of claims) {
    const error = refusal(() => state.targets.claim(claimant, wanted, "run-4"), "target-owned");
    assert.equal(error.exitCode, 7);
    assert.match(error.message, /belongs to disk-2000 of \/DC\/vm\/web 1 \(instance UUID 5029d1a4/);
    assert.match(error.message, / since 20\d\d-.* \(run run-1\)$/);
    assert.match(error.remedy, /--take-over-target/);
    assert.equal(state.targets.findOtherOwner(claimant, wanted)?.runId, "run-1");
  }
  assert.equal(state.targets.findOtherOwner(vm, target), undefined);
});

test("a target that is taken over is the other disk's, and no copy to it counts any more", (t) => {
  using state = State.open(temporaryDirectory(t));
  state.targets.claim(vm, target, "run-1");
  remember(state, vm);
  remember(state, vm, 2001);
  state.journals.startJournal(vm, 2000, {
    mode: "incremental",
    baseChangeId: changeId(8),
    fromChangeId: changeId(7),
    capacityBytes: 1 << 20,
    targetUri: target.names[0]!,
    targetSizeBytes: 1 << 20,
    startedAt: "2025-01-02T00:00:00.000Z",
    runId: "run-2",
  });
  const owner = state.targets.takeOver(other, target, "run-3");
  assert.equal(owner?.vm.instanceUuid, vm.instanceUuid);
  for (const at of [vm, other]) {
    const record = state.records.readDiskRecord(at, 2000);
    assert.equal(record?.unfinished, "full");
    assert.equal(record?.changeId, undefined);
    assert.deepEqual(record?.samples, []);
    assert.equal(state.journals.openJournal(at, 2000), undefined);
  }
  assert.equal(state.records.readDiskRecord(vm, 2001)?.changeId, changeId(7));
  refusal(() => state.targets.claim(vm, target, "run-4"), "target-owned");
  state.targets.claim(other, target, "run-5");
});

test("taking over what is nobody's, or one's own, voids nothing", (t) => {
  using state = State.open(temporaryDirectory(t));
  assert.equal(state.targets.takeOver(vm, target, "run-1"), undefined);
  remember(state, vm);
  assert.equal(state.targets.takeOver(vm, target, "run-2"), undefined);
  assert.equal(state.records.readDiskRecord(vm, 2000)?.changeId, changeId(7));
});

test("a target of before that was noted under an address is its VM's under every address", (t) => {
  using state = State.open(temporaryDirectory(t));
  state.targets.claim({ ...vm, endpoint: "127.0.0.1" }, target, "run-1");
  state.records.writeDiskRecord(
    { ...vm, endpoint: "localhost" },
    {
      deviceKey: 2000,
      changeId: changeId(9),
      capacityBytes: 1 << 20,
      targetUri: "elsewhere",
      targetSizeBytes: 1 << 20,
      syncedAt: "2025-01-03T00:00:00.000Z",
      samples: [],
    },
  );
  const told: VmIdentity = { ...vm, endpoint: "localhost", endpointUuid: "42" };
  assert.equal(state.targets.findOtherOwner(told, target), undefined);
  state.targets.claim(told, target, "run-2");
  assert.equal(
    state.targets.findOtherOwner({ ...told, endpointUuid: "43" }, target)?.runId,
    "run-1",
  );
});
