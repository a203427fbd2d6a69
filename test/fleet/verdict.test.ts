// What follows from a run's ending: done, again after a pause, or an operator's turn.

import assert from "node:assert/strict";
import { test } from "node:test";
import { catalogue, type ErrorCode, exitCodes } from "../../src/errors.ts";
import { verdictOn } from "../../src/fleet/verdict.ts";

const ended = (errorCode: string | undefined, exitCode: number) =>
  verdictOn(
    { status: "failed", exitCode, ...(errorCode === undefined ? {} : { errorCode }) },
    "migrate",
    0,
  ).kind;

test("an error's code decides, and every code has its answer", () => {
  for (const [code, { exit, passes }] of Object.entries(catalogue)) {
    assert.equal(ended(code, exitCodes[exit]), passes ? "again" : "operator", code);
  }
  for (const code of ["source-unreachable", "locked", "vsphere-busy"] satisfies ErrorCode[]) {
    assert.equal(ended(code, 3), "again");
  }
  for (const code of ["vm-unsuitable", "target-mismatch", "vsphere-login"] satisfies ErrorCode[]) {
    assert.equal(ended(code, 3), "operator");
  }
});

test("without a code, or with one of a newer version, the exit code decides", () => {
  for (const code of [undefined, "of-a-newer-version"]) {
    for (const exitCode of [3, 4, 5, 7, 10, 11, 137]) assert.equal(ended(code, exitCode), "again");
    for (const exitCode of [1, 2, 6, 8, 9]) assert.equal(ended(code, exitCode), "operator");
  }
});

test("pauses double from a minute to an hour; a cutover is tried three times in all", () => {
  const failure = { status: "failed", exitCode: 4, errorCode: "source-io" } as const;
  const pauses = [0, 1, 2, 5, 6, 40].map((failures) => verdictOn(failure, "migrate", failures));
  assert.deepEqual(
    pauses.map((verdict) => verdict.kind === "again" && verdict.afterMs / 60_000),
    [1, 2, 4, 32, 60, 60],
  );
  const kinds = [0, 1, 2].map((failures) => verdictOn(failure, "cutover", failures).kind);
  assert.deepEqual(kinds, ["again", "again", "operator"]);
});

test("what went well is done, and what was interrupted keeps its turn", () => {
  assert.equal(verdictOn({ status: "completed", exitCode: 0 }, "migrate", 3).kind, "done");
  assert.equal(
    verdictOn({ status: "interrupted", exitCode: 143 }, "cutover", 2).kind,
    "keeps-turn",
  );
});
