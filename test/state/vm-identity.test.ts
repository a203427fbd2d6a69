import assert from "node:assert/strict";
import { test } from "node:test";
import { State } from "../../src/state/state.ts";
import type { VmIdentity } from "../../src/state/vm-identity.ts";
import { changeId, temporaryDirectory, vm } from "./helpers.ts";

const vcenter = "0b7e1e4c-6c6f-4d0e-8f3c-2a5f0f1f9a01";
const otherVcenter = "7d2b44c1-93d5-4a8b-9b7e-51c3b6f7e802";
const known: VmIdentity = { ...vm, endpointUuid: vcenter };

function remember(state: State, at: VmIdentity, sequence: number, target = "localhost:10809#a") {
  state.records.writeDiskRecord(at, {
    deviceKey: 2000,
    changeId: changeId(sequence),
    capacityBytes: 1 << 20,
    targetUri: target,
    targetSizeBytes: 1 << 20,
    syncedAt: `2025-01-0${sequence}T00:00:00.000Z`,
    samples: [],
  });
}

function sequenceAt(state: State, at: VmIdentity): string | undefined {
  return state.records.readDiskRecord(at, 2000)?.changeId?.split("/")[1];
}

test("a VM is the same under every address of its vCenter, and the last one is shown", (t) => {
  using state = State.open(temporaryDirectory(t));
  remember(state, { ...known, endpoint: "127.0.0.1:8443" }, 1);
  const byName = { ...known, endpoint: "vcenter.example" };
  assert.equal(sequenceAt(state, byName), "1");
  assert.equal(state.findKnownVm(byName)?.endpoint, "127.0.0.1:8443");
  state.runs.startRun(byName, { command: "migrate", version: "3", lockToken: "t" });
  assert.deepEqual(state.listVms(), [{ ...known, endpoint: "vcenter.example" }]);
  for (const address of ["127.0.0.1:8443", "VCENTER.example:443"]) {
    assert.equal(state.listVmsAt({ endpoint: address }).length, 1, address);
  }
  assert.deepEqual(state.listVmsAt({ endpoint: "elsewhere" }), []);
  assert.equal(state.listVmsAt({ endpoint: "elsewhere", endpointUuid: vcenter }).length, 1);
});

test("the same address with another vCenter behind it shows other VMs", (t) => {
  using state = State.open(temporaryDirectory(t));
  remember(state, known, 1);
  const other = { ...known, endpointUuid: otherVcenter };
  assert.equal(sequenceAt(state, other), undefined);
  remember(state, other, 2, "localhost:10809#b");
  assert.equal(sequenceAt(state, known), "1");
  assert.equal(sequenceAt(state, other), "2");
});

test("an endpoint that tells no UUID is known by its address", (t) => {
  using state = State.open(temporaryDirectory(t));
  remember(state, vm, 1);
  assert.equal(sequenceAt(state, { ...vm, endpoint: "VCENTER.EXAMPLE" }), "1");
  assert.equal(sequenceAt(state, { ...vm, endpoint: "elsewhere" }), undefined);
  remember(state, known, 2);
  assert.equal(sequenceAt(state, vm), "2", "it told its UUID once, and now it does not");
});

test("what was known by address is taken on by the first endpoint that shows the VM", (t) => {
  using state = State.open(temporaryDirectory(t));
  remember(state, { ...vm, endpoint: "127.0.0.1" }, 1, "localhost:10809#x");
  remember(state, { ...vm, endpoint: "other.example" }, 2);
  const found = { ...known, endpoint: "vcenter.example" };
  assert.equal(sequenceAt(state, found), "2", "none has this address: the one synced last");
  assert.equal(state.findKnownVm(found)?.endpointUuid, undefined, "looking changes nothing");
  remember(state, found, 3);
  assert.equal(state.listVms().length, 2);
  assert.equal(sequenceAt(state, { ...known, endpoint: "127.0.0.1" }), "3");
});

test("of two rows the one of the same address is taken on, if its target was not synced since", (t) => {
  using state = State.open(temporaryDirectory(t));
  const byAddress = { ...vm, endpoint: "127.0.0.1" };
  const byName = { ...vm, endpoint: "localhost" };
  remember(state, byAddress, 1, "localhost:10809#a");
  remember(state, byName, 2, "localhost:10809#b");
  const target = (name: string) => ({ deviceKey: 2000, names: [`localhost:10809#${name}`] });
  state.targets.claim(byName, target("b"), "r2");
  assert.equal(sequenceAt(state, { ...known, endpoint: "127.0.0.1" }), "1");
  state.targets.claim(byName, target("a"), "r3");
  assert.equal(sequenceAt(state, { ...known, endpoint: "127.0.0.1" }), "2");
});
