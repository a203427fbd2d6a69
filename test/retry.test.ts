import assert from "node:assert/strict";
import { test } from "node:test";
import { type RetryPolicy, retry } from "../src/retry.ts";

const quick = { firstPauseMs: 1, pauseMsMax: 4 };

/** Fails so often with errors that are numbered from 1, then gives "done". */
function failing(times: number) {
  let calls = 0;
  const work = async () => {
    calls += 1;
    if (calls <= times) throw new Error(`failure ${calls}`);
    return "done";
  };
  return { work, calls: () => calls };
}

test("what fails is called again until it works, after pauses that double up to the longest", async () => {
  const { work, calls } = failing(4);
  const waits: unknown[] = [];
  const policy: RetryPolicy = {
    ...quick,
    attemptsMax: 5,
    onWait: ({ error, ...wait }) => waits.push([String(error), wait]),
  };
  assert.equal(await retry(work, policy), "done");
  assert.equal(calls(), 5);
  assert.deepEqual(waits, [
    ["Error: failure 1", { attempt: 1, pauseMs: 1 }],
    ["Error: failure 2", { attempt: 2, pauseMs: 2 }],
    ["Error: failure 3", { attempt: 3, pauseMs: 4 }],
    ["Error: failure 4", { attempt: 4, pauseMs: 4 }],
  ]);
});

test("after the last attempt its own error is thrown", async () => {
  const { work, calls } = failing(9);
  await assert.rejects(retry(work, { ...quick, attemptsMax: 3 }), /^Error: failure 3$/);
  assert.equal(calls(), 3);
});

test("the limit runs from the first failure, and one call more is made when it is reached", async () => {
  const pauses: number[] = [];
  const work = () => Promise.reject(new Error("down"));
  const policy = { limitMs: 60, firstPauseMs: 50, pauseMsMax: 1000 };
  const onWait = ({ pauseMs }: { pauseMs: number }) => pauses.push(pauseMs);
  await assert.rejects(retry(work, { ...policy, onWait }), /down/);
  assert.equal(pauses[0], 50);
  // A timer may be early by a part of a millisecond.
  assert.ok(pauses.length >= 2 && pauses.slice(1).every((ms) => ms <= 11), pauses.join(" "));
});

test("a limit of zero, one attempt and an error that does not pass each mean no second call", async () => {
  for (const policy of [
    { ...quick, limitMs: 0 },
    { ...quick, attemptsMax: 1 },
    { ...quick, attemptsMax: 9, isPassing: async () => false },
  ]) {
    const { work, calls } = failing(9);
    const onWait = () => assert.fail("it waited");
    await assert.rejects(retry(work, { ...policy, onWait }), /failure 1/);
    assert.equal(calls(), 1);
  }
});

test("an abort ends a pause at once, with the signal's own reason", async () => {
  const controller = new AbortController();
  const reason = new Error("stopped by the operator");
  const { work, calls } = failing(9);
  const policy = { attemptsMax: 9, firstPauseMs: 60_000, pauseMsMax: 60_000 };
  const onWait = () => setImmediate(() => controller.abort(reason));
  const { signal } = controller;
  await assert.rejects(retry(work, { ...policy, signal, onWait }), reason);
  assert.equal(calls(), 1);
});

test("an error that an abort has caused is told as the signal's reason", async () => {
  const controller = new AbortController();
  const reason = new Error("stopped by the operator");
  const work = async () => {
    controller.abort(reason);
    throw new Error("the request was cut off");
  };
  await assert.rejects(
    retry(work, { ...quick, attemptsMax: 9, signal: controller.signal }),
    reason,
  );
});
