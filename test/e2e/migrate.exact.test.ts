import assert from "node:assert/strict";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { after, before, test } from "node:test";
import { startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import { assertEqualTargets, assertNoSnapshot, migrateWell } from "./migrate-checks.ts";

let lab: Lab;
before(async () => {
  lab = await startLab({ pollIntervalMs: 100 });
});
after(() => lab.stop());

test("a full copy, guest writes and an incremental end equal, and only changed blocks are copied", async () => {
  const vm = lab.vm("MyVM");
  const { key, capacityBytes } = vm.disks[0]!.record;
  assert.notEqual(capacityBytes % 65_536, 0);
  const first = await migrateWell(lab, vm);
  assert.equal(first.disks[0]!.sync_type, "full");

  let since = first.disks[0]!.change_id!;
  for (const seed of [1, 2, 3]) {
    await vm.randomWrites(key, { seed, writes: 25 });
    const summary = await migrateWell(lab, vm);
    const [disk] = summary.disks;
    assert.equal(disk!.sync_type, "incremental");
    const truth = vm.changedSince(key, since);
    const changedBytes = truth.reduce((sum, value, i) => sum + (i % 2 ? value : 0), 0);
    const touched = disk!.copied_bytes + disk!.zeroed_bytes + disk!.skipped_bytes;
    assert.ok(changedBytes > 0);
    assert.ok(touched <= changedBytes, `${touched} bytes of ${changedBytes} changed`);
    since = disk!.change_id!;
  }
  const idle = await migrateWell(lab, vm);
  assert.equal(idle.disks[0]!.copied_bytes, 0);
});

test("the guest may write all along: the target equals the snapshot, not the running disk", async () => {
  const vm = lab.vm("cold01");
  await vm.guest.start({ seed: 7, intervalMs: 2 });
  await migrateWell(lab, vm);
  await migrateWell(lab, vm);
  await vm.guest.stop();
});

test("three disks, one unchanged: updates per disk, no early end, right sums, no silence", async () => {
  const vm = lab.vm("db01");
  await migrateWell(lab, vm);
  const [one, two] = vm.disks.map(({ record }) => record.key);
  await vm.randomWrites(one!, { seed: 11, writes: 10 });
  await vm.randomWrites(two!, { seed: 12, writes: 10 });
  lab.vcenter.faults.add({ name: "slowSnapshot", value: 6000, count: 1 });
  const ownDelay = monitorEventLoopDelay({ resolution: 10 });
  ownDelay.enable();
  const jobId = "job/with slash";
  const summary = await migrateWell(lab, vm, { jobId });

  assert.equal(summary.disks[2]!.copied_bytes, 0);
  const updates = lab.vma.updatesOf(jobId);
  const ends = updates.filter(({ body }) => body.status !== "in_progress");
  assert.deepEqual(ends, updates.slice(-1), "one end, the last update");
  const last = updates.at(-1)!.body;
  assert.equal(last.status, "completed");
  assert.equal(last.disk_id, undefined);
  const planned = summary.disks.reduce((sum, disk) => sum + disk.planned_bytes, 0);
  assert.equal(last.total_bytes, planned);
  assert.equal(last.bytes_transferred, planned);
  assert.equal(last.percent, 100);
  assert.deepEqual(
    new Set(updates.map(({ body }) => body.disk_id).filter(Boolean)),
    new Set(summary.disks.map((disk) => disk.disk_id)),
  );
  assert.deepEqual(lab.vma.violations, []);
  // The API is in this process: an update waits for it while it is busy with other things.
  const silenceMs = lab.vma.longestGapMs(jobId) - ownDelay.max / 1e6;
  assert.ok(silenceMs <= 2500, `${silenceMs} ms of silence`);
});

test("the operators' command line works word for word, and the poller's tables agree", async () => {
  const vm = lab.vm("MyVM");
  await vm.randomWrites(2000, { seed: 21, writes: 5 });
  const jobId = "job-20250906-123456";
  const run = startCli({
    args: [
      "migrate",
      "--vmware-endpoint",
      lab.vcenter.endpoint,
      "--vmware-username",
      "admin@vsphere.local",
      "--vmware-password",
      lab.vcenter.password,
      "--vmware-path",
      "/Datacenter/vm/MyVM",
      "--nbd-export-name",
      "migration-vol-uuid",
      "--job-id",
      jobId,
      "--debug",
    ],
    env: lab.cliEnv(),
  });
  const result = await run.result;
  assert.equal(result.code, 0, result.stderr);
  await assertEqualTargets(lab, vm);
  assertNoSnapshot(vm);
  assert.match(result.stderr, /📊 Progress update sent to VMA/);
  assert.ok(!result.stderr.includes(lab.vcenter.password), "the password is in no log");

  const answer = await fetch(`${lab.vma.url}/api/v1/progress/${jobId}`);
  const job = (await answer.json()) as Record<string, unknown>;
  assert.equal(job.status, "completed");
  assert.equal(job.percentage, 100);
  await lab.poller.poll();
  const row = lab.poller.job(jobId);
  assert.equal(row?.status, "completed");
  assert.equal(row?.progress_percent, 100);
});

test("with a job for change IDs the OMA API keeps them, one for each disk", async () => {
  const vm = lab.vm("web01");
  const env = { MIGRATEKIT_JOB_ID: "replication-1" };
  const first = await migrateWell(lab, vm, {}, env);
  const second = await migrateWell(lab, vm, {}, env);
  for (const disk of second.disks) {
    assert.equal(disk.sync_type, "incremental");
    assert.equal(lab.oma.changeId(vm.path, disk.disk_id), disk.change_id);
  }
  assert.equal(first.disks[0]!.sync_type, "full");
  const posts = lab.oma.calls.filter((call) => call.method === "POST");
  assert.deepEqual(
    posts.slice(-2).map((call) => call.previousChangeId),
    first.disks.map((disk) => disk.change_id),
  );
  assert.deepEqual(lab.oma.violations, []);
});
