import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { after, before, test } from "node:test";
import { takeSamples } from "../../src/migration/cycle/samples.ts";
import { StateDatabase } from "../../src/state/database/database.ts";
import { DiskRecords } from "../../src/state/disk-records.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { until } from "../until.ts";
import { runCommand, startCommand } from "./cli-commands.ts";
import { assertFailure, assertNoSnapshot, migrateWell } from "./migrate-checks.ts";

const mebibyte = 1 << 20;
const key = 2000;
const mismatch = 8;
const store = 6;

interface Verified {
  status: string;
  disks: {
    status: string;
    compared_bytes: number;
    differing_bytes: number;
    repaired_bytes: number;
    newer_bytes: number;
    differences: { offset: number; length: number }[];
  }[];
  error?: { code: string };
}

let lab: Lab;
let vm: LabVm;
before(async () => {
  const disk = (seed: number) => ({
    capacityBytes: 12 * mebibyte - 512,
    fill: { seed, dataRatio: 0.5, zeroRatio: 0.2 },
  });
  lab = await startLab({
    targets: "direct",
    vms: [
      { name: "live01", disks: [disk(1)] },
      { name: "two01", disks: [disk(2), disk(3)] },
      { name: "off01", powerState: "poweredOff", changeTrackingSupported: false, disks: [disk(4)] },
    ],
  });
  vm = lab.vm("live01");
});
after(() => lab.stop());

async function verify(machine: LabVm, ...extra: string[]) {
  const run = await runCommand(lab, "verify", machine, { extra: ["--json", ...extra] });
  assertNoSnapshot(machine);
  return { ...run, ...run.json<Verified>() };
}

function targetFile(machine: LabVm, diskKey = key): string {
  return lab.targets.disksOf(machine).find((disk) => disk.key === diskKey)!.targetFile;
}

async function flip(file: string, offset: number): Promise<void> {
  await using handle = await open(file, "r+");
  const byte = Buffer.alloc(1);
  await handle.read(byte, 0, 1, offset);
  byte[0]! ^= 0x10;
  await handle.write(byte, 0, 1, offset);
}

test("a VM that keeps writing verifies without a false alarm, and what it wrote is called newer", async () => {
  await migrateWell(lab, vm);
  // Slow enough that, however long a round takes, the guest does not rewrite the whole disk.
  await vm.guest.start({ seed: 5, intervalMs: 100, maximumBytes: 65_536 });
  try {
    let newerBytes = 0;
    for (let round = 0; round < 4; round++) {
      const run = await verify(vm);
      assert.equal(run.code, 0, run.stderr);
      assert.equal(run.disks[0]!.status, "equal");
      assert.ok(run.disks[0]!.newer_bytes > newerBytes, "what is newer grows until the next sync");
      newerBytes = run.disks[0]!.newer_bytes;
    }
    await migrateWell(lab, vm);
    const after = await verify(vm, "--sample");
    assert.equal(after.code, 0, after.stderr);
  } finally {
    await vm.guest.stop();
  }
});

test("one flipped byte anywhere is found; repair fixes exactly it, and the next run is incremental", async () => {
  await migrateWell(lab, vm);
  const file = targetFile(vm);
  const right = readFileSync(file);
  const last = right.length - 1;
  const offsets = [0, 5 * mebibyte + 777, last];
  for (const offset of offsets) await flip(file, offset);
  const wrong = readFileSync(file);
  const found = await verify(vm);
  assertFailure(
    found,
    mismatch,
    /\[verification-mismatch\] ?.*disk-2000: 1536 bytes differ/,
    /--repair/,
  );
  assert.deepEqual(
    found.disks[0]!.differences,
    offsets.map((offset) => ({ offset: offset - (offset % 512), length: 512 })),
  );
  assert.ok(readFileSync(file).equals(wrong), "verify alone writes nothing");

  const repaired = await verify(vm, "--repair");
  assert.equal(repaired.code, 0, repaired.stderr);
  assert.equal(repaired.disks[0]!.status, "repaired");
  assert.equal(repaired.disks[0]!.repaired_bytes, 1536);
  assert.ok(readFileSync(file).equals(right), "every other byte is as it was");
  assert.equal((await verify(vm)).disks[0]!.status, "equal");
  await vm.randomWrites(key, { seed: 8, writes: 3, maximumBytes: 65_536 });
  assert.equal((await migrateWell(lab, vm)).disks[0]!.sync_type, "incremental");
});

test("the guard's samples of a repaired range are taken again, so that the next run is incremental", async () => {
  await migrateWell(lab, vm);
  await flip(targetFile(vm), 100);
  await rememberTargetAsItIs();
  assert.equal((await verify(vm, "--repair")).disks[0]!.status, "repaired");
  assert.equal((await migrateWell(lab, vm)).disks[0]!.sync_type, "incremental");
});

/** As if the bytes had been wrong already when the last run took its samples. */
async function rememberTargetAsItIs(): Promise<void> {
  const { exportUri } = lab.targets.disksOf(vm)[0]!;
  const { instanceUuid } = vm.record;
  const identity = { endpoint: lab.vcenter.endpoint, instanceUuid, vmPath: vm.path };
  using state = StateDatabase.open(lab.stateDir);
  const records = new DiskRecords(state);
  const { samples } = records.readDiskRecord(identity, key)!;
  const ranges = Float64Array.from(samples.flatMap(({ offset, length }) => [offset, length]));
  records.replaceSamples(identity, key, await takeSamples({ uri: exportUri }, ranges));
}

test("a difference within what is newer is left to the next sync: not reported, not repaired", async () => {
  await migrateWell(lab, vm);
  await vm.write(key, 2 * mebibyte, Buffer.alloc(65_536, 7));
  const file = targetFile(vm);
  await flip(file, 2 * mebibyte + 9);
  const before = readFileSync(file);
  const run = await verify(vm, "--repair");
  assert.equal(run.code, 0, run.stderr);
  assert.equal(run.disks[0]!.status, "equal");
  assert.ok(run.disks[0]!.newer_bytes >= 65_536);
  assert.ok(readFileSync(file).equals(before));
  await migrateWell(lab, vm);
});

test("more differences than are listed are all counted, and all repaired", async () => {
  await migrateWell(lab, vm);
  const file = targetFile(vm);
  const right = readFileSync(file);
  const wrong = Buffer.from(right);
  for (let at = 0; at < 2500; at++) wrong[at * 1536]! ^= 1;
  writeFileSync(file, wrong);
  const found = await verify(vm);
  assert.equal(found.code, mismatch);
  assert.equal(found.disks[0]!.differing_bytes, 2500 * 512);
  assert.equal(found.disks[0]!.differences.length, 1000);
  const repaired = await verify(vm, "--repair");
  assert.equal(repaired.code, 0, repaired.stderr);
  assert.equal(repaired.disks[0]!.repaired_bytes, 2500 * 512);
  assert.ok(readFileSync(file).equals(right));
});

test("of two disks the one that differs is named, on the terminal too, and one job ends as failed", async () => {
  const two = lab.vm("two01");
  await migrateWell(lab, two);
  await flip(targetFile(two, 2001), 4096);
  const run = await runCommand(lab, "verify", two, { jobId: "verify-1" });
  assertFailure(run, mismatch, /disk-2001: 512 bytes differ/);
  assert.match(run.stdout, /^disk-2000: equal /m);
  assert.match(run.stdout, /^ {2}differs: offset 4096, length 512$/m);
  const ends = lab.vma.updatesOf("verify-1").filter(({ body }) => body.status !== "in_progress");
  assert.deepEqual(
    ends.map(({ body }) => body.status),
    ["failed"],
  );
  assert.deepEqual(lab.vma.violations, []);
});

test("where nothing is known of the target, verify says so instead of guessing", async () => {
  const fresh = await lab.addVm({ name: "fresh01", disks: [{ capacityBytes: mebibyte }] });
  const run = await verify(fresh);
  assertFailure(run, store, /\[verification-impossible\].*disk-2000 cannot be verified/, /migrate/);
  assert.equal(run.disks[0]!.status, "unverifiable");
});

test("a VM that is off is compared whole, tracked or not", async () => {
  const off = lab.vm("off01");
  await migrateWell(lab, off);
  assert.equal((await verify(off)).disks[0]!.compared_bytes, 12 * mebibyte - 512);
  await flip(targetFile(off), 3 * mebibyte);
  assert.equal((await verify(off)).code, mismatch);
});

test("an interrupted verification removes its snapshot and ends by the signal", async () => {
  await lab.vddk.setFaults({ delay_us: 3_000_000, aio_threads: 1 });
  const { child, result } = startCommand(lab, "verify", vm);
  await until("reading began", () => vm.snapshots.length > 0 && lab.nfc.connectionCount > 0);
  child.kill("SIGTERM");
  const run = await result;
  await lab.vddk.setFaults({});
  assert.equal(run.signal, "SIGTERM", run.stderr);
  assertNoSnapshot(vm);
});
