// What happens around a run that takes long: each part of the world goes away and comes back.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { after, before, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type CliRun, startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { killNbdkitBelow } from "../torture/victims.ts";
import {
  assertEqualTargets,
  assertFailure,
  assertNoSnapshot,
  migrateWell,
} from "./migrate-checks.ts";

let lab: Lab;
let vm: LabVm;
before(async () => {
  lab = await startLab();
  vm = lab.vm("MyVM");
});
after(() => lab.stop());
beforeEach(async () => {
  lab.vcenter.faults.clear();
  lab.vma.setFault(undefined);
  lab.oma.setFault(undefined);
  await lab.vddk.setFaults({});
});

let runNumber = 0;
async function startSlow(extra: string[] = [], env = {}): Promise<CliRun & { jobId: string }> {
  const jobId = `long-${++runNumber}`;
  const args = lab.migrateArgs(vm, { jobId, extra: ["--full", "--max-rate", "6M", ...extra] });
  const run = startCli({ args, env });
  for (let waited = 0; waited < 30_000; waited += 20) {
    const newest = lab.vma.updatesOf(jobId).at(-1)?.body;
    if (newest?.stage === "Transfer" && newest.bytes_transferred > 0) break;
    await sleep(20);
  }
  return { ...run, jobId };
}

async function endsWell(run: CliRun): Promise<string> {
  const result = await run.result;
  assert.equal(result.code, 0, result.stderr);
  await assertEqualTargets(lab, vm);
  assertNoSnapshot(vm);
  return result.stderr;
}

const interruptions: [string, (run: CliRun) => Promise<void>][] = [
  ["nbdkit dies", async (run) => killNbdkitBelow(run.child.pid!)],
  [
    "the tunnel is restarted",
    async () => {
      await lab.targets.tunnel!.kill();
      await sleep(500);
      await lab.targets.tunnel!.restart();
    },
  ],
  [
    "the NBD server is killed and comes back",
    async () => {
      await lab.targets.servers[0]!.kill();
      await sleep(500);
      await lab.targets.servers[0]!.restart();
    },
  ],
  [
    "vCenter restarts and forgets its sessions",
    async () => {
      lab.vcenter.sessions.expireAll();
      await lab.vcenter.refuseConnections(1500);
    },
  ],
  ["the ESXi host drops its connections", async () => lab.nfc.dropAll()],
];

for (const [title, interrupt] of interruptions) {
  test(`in mid-copy ${title}: the run goes on and ends equal`, async () => {
    const run = await startSlow();
    await interrupt(run);
    await endsWell(run);
  });
}

test("without the VMA API a run is neither slower nor failed", async () => {
  await lab.vma.refuse();
  const summary = await migrateWell(lab, vm, { jobId: "nobody listens" });
  await lab.vma.accept();
  assert.equal(summary.status, "completed");
});

test("when the OMA API cannot take the change ID it is kept here, said, and used by the next run", async () => {
  const env = { MIGRATEKIT_JOB_ID: "oma-down" };
  await migrateWell(lab, vm, {}, env);
  lab.oma.setFault({ kind: "status", status: 500, method: "POST" });
  await vm.randomWrites(2000, { seed: 8, writes: 4 });
  const failed = await lab.migrate(vm, {}, env);
  assertFailure(failed, 6, /\[change-id-write\]/, /kept locally/);
  assertNoSnapshot(vm);
  await assertEqualTargets(lab, vm);
  lab.oma.setFault(undefined);
  const next = await migrateWell(lab, vm, {}, env);
  assert.equal(next.disks[0]!.sync_type, "incremental");
  assert.equal(
    next.disks[0]!.copied_bytes + next.disks[0]!.zeroed_bytes,
    0,
    "it began at the kept ID",
  );
  assert.equal(lab.oma.changeId(vm.path, "disk-2000"), next.disks[0]!.change_id);
});

test("an OMA API that cannot be read fails the run before the copy, unless --full was given", async () => {
  lab.oma.setFault({ kind: "status", status: 500, method: "GET" });
  const env = { MIGRATEKIT_JOB_ID: "oma-unreadable" };
  assertFailure(await lab.migrate(vm, {}, env), 6, /\[change-id-read\]/, /--full/);
  lab.oma.registerJob("oma-unreadable", vm.path);
  const summary = await migrateWell(lab, vm, { extra: ["--full"] }, env);
  assert.equal(summary.disks[0]!.sync_type, "full");
});

test("a state directory that is full is said clearly, and nothing that was known is lost", async () => {
  const stateDir = `${lab.dir}/small-state`;
  mkdirSync(stateDir, { mode: 0o700 });
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", stateDir]);
  try {
    const at = { extra: ["--state-dir", stateDir] };
    await migrateWell(lab, vm, at);
    execFileSync("sh", ["-c", `dd if=/dev/zero of=${stateDir}/ballast bs=4k 2>/dev/null || true`]);
    await vm.randomWrites(2000, { seed: 12, writes: 3 });
    assertFailure(await lab.migrate(vm, at), 6, /\[state-unusable\].*full/i);
    assertNoSnapshot(vm);
    execFileSync("rm", [`${stateDir}/ballast`]);
    const summary = await migrateWell(lab, vm, at);
    assert.equal(summary.disks[0]!.sync_type, "incremental");
  } finally {
    execFileSync("umount", [stateDir]);
  }
});

test("a full copy killed at 60 % and run again copies under 45 % and what changed", async () => {
  const capacityBytes = Number(process.env.MIGRATEKIT_RESUME_MIB ?? 256) * (1 << 20);
  const big = await lab.addVm({
    name: "big01",
    disks: [{ capacityBytes, fill: { seed: 3, dataRatio: 0.4, zeroRatio: 0.1 } }],
  });
  const jobId = "killed-at-60";
  const rate = `${Math.ceil(capacityBytes / (1 << 20) / 50)}M`;
  const run = startCli({ args: lab.migrateArgs(big, { jobId, extra: ["--max-rate", rate] }) });
  await big.guest.start({ seed: 4, intervalMs: 200, maximumBytes: 65_536 });
  let planned = 0;
  for (;;) {
    await sleep(100);
    const newest = lab.vma.updatesOf(jobId).at(-1)?.body;
    planned = newest?.total_bytes ?? 0;
    if (newest && planned > 0 && newest.bytes_transferred / planned >= 0.6) break;
    assert.equal(run.child.exitCode, null, "still copying");
  }
  run.child.kill("SIGKILL");
  await run.result;
  await big.guest.stop();
  const summary = await migrateWell(lab, big);
  const [disk] = summary.disks;
  assert.equal(disk!.resumed, true, disk!.reason);
  const changed = big.guest.written.length * 2 * 65_536;
  assert.ok(
    disk!.copied_bytes < 0.45 * planned + changed,
    `${disk!.copied_bytes} of ${planned} copied again, ${changed} changed at most`,
  );
});
