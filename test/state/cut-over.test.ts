import assert from "node:assert/strict";
import { test } from "node:test";
import { State } from "../../src/state/state.ts";
import { temporaryDirectory, vm } from "./helpers.ts";

test("that a VM was cut over is kept until it is reopened, and concerns no other VM", (t) => {
  const stateDir = temporaryDirectory(t);
  {
    using state = State.open(stateDir);
    assert.equal(state.readCutOver(vm), undefined);
    state.clearCutOver(vm);
    state.markCutOver(vm, "run-1");
  }
  using state = State.open(stateDir);
  assert.equal(state.readCutOver(vm)?.runId, "run-1");
  assert.ok(Date.parse(state.readCutOver(vm)?.at ?? "") > 0);
  assert.equal(state.readCutOver({ ...vm, instanceUuid: "another" }), undefined);
  state.clearCutOver(vm);
  assert.equal(state.readCutOver(vm), undefined);
});
