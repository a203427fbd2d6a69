import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { LastingFault, VimFault } from "../../../src/vmware/wire/faults.ts";
import { Patience } from "../../../src/vmware/wire/patience.ts";

const logger = pino({ level: "silent" });

test("after a hurry another task is waited for only a little longer, however long it may take else", async () => {
  const patience = new Patience({ busyMs: 3_600_000, hurriedMs: 50, logger });
  const controller = new AbortController();
  let calls = 0;
  const work = async () => {
    if (++calls === 2) controller.abort();
    throw new VimFault("TaskInProgress", "Another task is already in progress.");
  };
  const wait = { mayPass: () => true, hurry: controller.signal };
  await assert.rejects(patience.outlast(work, wait), (error) => {
    assert.ok(error instanceof LastingFault);
    assert.equal(error.fault, "TaskInProgress");
    assert.ok(error.waitedMs > 0);
    return true;
  });
  assert.equal(calls, 3);
});

test("a hurry that came before still leaves time for a second try", async () => {
  const patience = new Patience({ busyMs: 3_600_000, hurriedMs: 50, logger });
  let calls = 0;
  const work = async () => {
    if (++calls === 1) throw new VimFault("TaskInProgress", "Another task is in progress.");
    return "done";
  };
  const wait = { mayPass: () => true, hurry: AbortSignal.abort() };
  assert.equal(await patience.outlast(work, wait), "done");
});
