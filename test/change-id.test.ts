import assert from "node:assert/strict";
import { test } from "node:test";
import { isChangeId, splitChangeId } from "../src/change-id.ts";
import { changeId } from "./state/helpers.ts";

test("change IDs are told from everything else", () => {
  const real = "52 de c0 d9 b6 43 9f 10-61 d5 4a 3c 08 e7 21 be/7";
  for (const text of [real, real.toUpperCase(), changeId(18446744073)]) {
    assert.ok(isChangeId(text), text);
  }
  for (const text of [
    "",
    "*",
    "7",
    real.slice(3),
    `${real} `,
    real.replace("/7", "/"),
    `x${real}`,
  ]) {
    assert.ok(!isChangeId(text), text);
    assert.equal(splitChangeId(text), undefined);
  }
  assert.deepEqual(splitChangeId(real.toUpperCase()), { uuid: real.slice(0, -2), sequence: 7n });
});
