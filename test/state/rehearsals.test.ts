import assert from "node:assert/strict";
import { test } from "node:test";
import { State } from "../../src/state/state.ts";
import { temporaryDirectory, vm } from "./helpers.ts";

test("of each VM the newest rehearsal is kept", (t) => {
  using state = State.open(temporaryDirectory(t));
  assert.equal(state.rehearsals.read(vm), undefined);
  state.rehearsals.write(vm, { runId: "a", verdict: "unclear", result: { why: "x" } });
  state.rehearsals.write(vm, { runId: "b", verdict: "boots", result: { why: "y" } });
  const { at, ...found } = state.rehearsals.read(vm)!;
  assert.deepEqual(found, { runId: "b", verdict: "boots", result: { why: "y" } });
  assert.ok(Math.abs(Date.now() - Date.parse(at)) < 60_000);
  assert.equal(state.rehearsals.read({ ...vm, instanceUuid: "another" }), undefined);
});
