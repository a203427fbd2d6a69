// The program as the first process of a container: the kernel keeps signals without a handler from it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { type CliRun, startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import { until } from "../until.ts";
import { assertNoSnapshot, migrateWell } from "./migrate-checks.ts";

let lab: Lab;
before(async () => {
  lab = await startLab({ targets: "direct" });
});
after(() => lab.stop());

const namespace = ["unshare", ...(process.getuid?.() === 0 ? [] : ["--map-root-user"])];

/** A run that is process 1 of a namespace, with a slow source, and in mid-copy. */
async function startCopying(
  jobId: string,
): Promise<CliRun & { kill(signal: NodeJS.Signals): void }> {
  await lab.vddk.setFaults({ delay_us: 400_000, aio_threads: 1 });
  const args = lab.migrateArgs(lab.vm("MyVM"), { jobId, extra: ["--full"] });
  const run = startCli({ args, within: [...namespace, "--pid", "--fork", "--mount-proc"] });
  const unshare = run.child.pid!;
  await until("a copy is under way", () => {
    const newest = lab.vma.updatesOf(jobId).at(-1)?.body;
    return newest?.stage === "Transfer" && newest.bytes_transferred > 0;
  });
  const first = Number(readFileSync(`/proc/${unshare}/task/${unshare}/children`, "utf8"));
  const inside = readFileSync(`/proc/${first}/status`, "utf8");
  assert.match(inside, /^NSpid:\t\d+\t1$/m, "it is process 1 in there");
  return { ...run, kill: (signal) => process.kill(first, signal) };
}

for (const [signal, code] of [["SIGTERM", 143] as const, ["SIGINT", 130] as const]) {
  test(`as process 1, ${signal} ends a copy politely with exit code ${code}`, async () => {
    const run = await startCopying(`pid1-${signal}`);
    run.kill(signal);
    const result = await run.result;
    assert.equal(result.code, code, result.stderr);
    assertNoSnapshot(lab.vm("MyVM"));
    assert.equal(lab.vma.updatesOf(`pid1-${signal}`).at(-1)?.body.status, "failed");
  });
}

test("as process 1, a second signal ends a run at once that waits for its snapshot's removal", async () => {
  const run = await startCopying("pid1-twice");
  lab.vcenter.faults.add({ name: "slowTasks", value: 30_000, count: 1 });
  run.kill("SIGTERM");
  const removals = () =>
    lab.vcenter.log.calls.filter(({ method }) => method === "RemoveSnapshot_Task");
  const before = removals().length;
  await until("the snapshot is being removed", () => removals().length > before);
  const askedMs = performance.now();
  run.kill("SIGTERM");
  const result = await run.result;
  assert.equal(result.code, 143, result.stderr);
  assert.ok(performance.now() - askedMs < 10_000, "it does not wait for the removal");
  lab.vcenter.faults.clear();
  await lab.vddk.setFaults({});
  await migrateWell(lab, lab.vm("MyVM"));
});
