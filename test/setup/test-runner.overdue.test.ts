import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { OverdueFiles } from "../../.ci/test/overdue.ts";
import { descendantsOf } from "../../.ci/test/process-tree.ts";

const limitMs = 1_000;

test("a file is overdue when its own process has lived for the limit", () => {
  const files = new OverdueFiles(limitMs);
  const child = { pid: 70, startedTicks: 500 };
  assert.deepEqual(files.look([child], 0), []);
  assert.deepEqual(files.look([child], limitMs - 1), []);
  assert.deepEqual(files.look([child], limitMs), [child]);
});

test("a file that got the pid of an earlier one has its own time", () => {
  const files = new OverdueFiles(limitMs);
  files.look([{ pid: 70, startedTicks: 500 }], 0);
  const second = { pid: 70, startedTicks: 90_000 };
  assert.deepEqual(files.look([second], limitMs + 1), []);
  assert.deepEqual(files.look([second], 2 * limitMs + 1), [second]);
});

test("a process's start is what the kernel says, also with brackets in its name", async (t) => {
  const start = () => spawn("bash", ["-c", "exec -a '7 ) S 1 (' sleep 60"]);
  const first = start();
  await sleep(50);
  const second = start();
  t.after(() => [first, second].map((child) => child.kill("SIGKILL")));
  const startOf = (pid: number) =>
    descendantsOf(process.pid).find((each) => each.pid === pid)!.startedTicks;
  const [early, late] = [startOf(first.pid!), startOf(second.pid!)];
  assert.ok(late > early && late - early < 1_000, `${early} and ${late}`);
  assert.equal(startOf(first.pid!), early);
});
