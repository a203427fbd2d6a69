/** What a worker does with the VMs that it takes; one lab for all. */
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { FleetDatabase } from "../../../src/fleet/database/database.ts";
import { initFleet } from "../../../src/fleet/database/init.ts";
import { schemaSteps } from "../../../src/fleet/database/schema/schema.ts";
import { createLogger } from "../../../src/logger.ts";
import { assertEqualTargets, assertMoved, assertNoSnapshot } from "../../e2e/migrate-checks.ts";
import { findFreePort } from "../../lab/ports.ts";
import type { LabVm } from "../../lab/vcenter/lab-vm.ts";
import { type Worker, WorkersLab } from "./workers.ts";

const mebibyte = 1 << 20;
const fill = { seed: 4, dataRatio: 0.6, zeroRatio: 0.1 };
const names = ["one", "two", "three"];

let site: WorkersLab;
let worker: Worker;
before(async () => {
  const vms = names.map((name) => ({
    ...{ name, disks: [{ capacityBytes: 6 * mebibyte, fill }] },
    guestShutdown: { afterMs: 0 },
  }));
  site = await WorkersLab.start({ vms, vcenter: { hosts: ["localhost"] } }, 8000, 1000);
});
after(() => site[Symbol.asyncDispose]());
afterEach(() => site.lab.vddk.setFaults({}));

const machines = (): LabVm[] => names.map((name) => site.lab.vm(name));

/** The worker of the test before, or a new one. */
async function working(): Promise<void> {
  if (worker?.child.exitCode === null && worker.child.signalCode === null) return;
  worker = site.start("another");
  await site.until("it works", () => worker.log().includes("worker another:"));
}

test("a worker syncs three VMs on schedule, byte-equal, and never beyond the host's limit", async () => {
  const every = { schedule: { kind: "every", everyMs: 3000 } } as const;
  await site.apply(
    machines().map((vm) => site.planned(vm, every)),
    2,
  );
  site.lab.nfc.forgetPeak();
  worker = site.start(
    "first",
    "--parallel-vms",
    "3",
    "--metrics-listen",
    `127.0.0.1:${await findFreePort()}`,
  );
  for (const vm of machines()) await site.synced(vm);
  for (const vm of machines()) await vm.randomWrites(2000, { seed: 1, writes: 10 });
  const before = await Promise.all(machines().map((vm) => site.status(vm)));
  for (const [at, vm] of machines().entries()) {
    const { syncs } = await site.synced(vm, before[at]!.syncs.length + 2);
    // One that found no room at the host may have come after it.
    const done = syncs.filter(({ status }) => status === "completed").at(-1)!;
    const { ending } = done as { ending: { sync_type: string } };
    assert.equal(ending.sync_type, "incremental");
  }
  await site.store.pause({ all: true });
  await site.until("nothing runs", async () => {
    const { workers } = await site.store.status();
    return workers.every(({ runs }) => runs === 0);
  });
  for (const vm of machines()) {
    await assertEqualTargets(site.lab, vm);
    assertNoSnapshot(vm);
  }
  assert.ok(site.lab.nfc.peakCount <= 2, `${site.lab.nfc.peakCount} connections`);
});

test("a worker tells Prometheus of itself what it has done", async () => {
  const [, url] = /metrics of this worker at ([^"\s]+)/.exec(worker.log()) ?? [];
  const text = await (await fetch(url!)).text();
  const value = (series: string) =>
    Number(
      text
        .split("\n")
        .find((line) => line.startsWith(series))
        ?.split(" ")
        .at(-1),
    );
  assert.ok(value('migratekit_worker_runs_total{worker="first",status="completed"}') >= 6, text);
  assert.ok(value("migratekit_worker_copied_bytes_total") >= 3 * 6 * mebibyte * 0.5, text);
  assert.ok(value("migratekit_worker_database_silence_seconds") < 60, text);
  assert.equal(value("migratekit_worker_draining"), 0);
});

test("a worker that is told to end drains: its run comes to a checkpoint and another goes on with it", async () => {
  const [vm] = machines() as [LabVm];
  await site.lab.vddk.setFaults({ delay_us: 3_000_000, aio_threads: 1 });
  const often = { schedule: { kind: "every", everyMs: 1000 } } as const;
  await site.apply([site.planned(vm, often, { full: "true", "source-connections": "1" })]);
  await site.store.resume({ all: true });
  await site.until("it copies", async () => ((await site.status(vm)).progress?.doneBytes ?? 0) > 0);
  worker.child.kill("SIGTERM");
  const { code, stdout } = await worker.result;
  assert.equal(code, 0, worker.log());
  const { runs } = JSON.parse(stdout) as { runs: Record<string, number> };
  assert.ok(runs.interrupted! >= 1 && runs.lost === 0, stdout);
  assertNoSnapshot(vm);
  const drained = await site.status(vm);
  assert.equal(drained.state, "due");
  assert.equal(drained.failures, 0);
  await site.lab.vddk.setFaults({});
  const before = drained.syncs.filter(({ status }) => status === "completed").length;
  await site.apply([site.planned(vm, often)]);
  worker = site.start("second");
  const { syncs } = await site.synced(vm, before + 1);
  const { ending } = syncs.filter(({ status }) => status === "completed")[before] as {
    ending: { disks: { resumed: boolean }[] };
  };
  assert.equal(ending.disks[0]!.resumed, true);
  await site.store.pause({ all: true });
  await site.until("nothing runs", async () => (await site.status(vm)).state === "paused");
  await assertEqualTargets(site.lab, vm);
  await site.store.resume({ all: true });
});

test("two workers do not share a state directory", async () => {
  const first = site.start("twin");
  await site.until("the first works", () => first.log().includes("worker twin:"));
  const { code, stdout } = await site.start("twin").result;
  first.child.kill("SIGTERM");
  await first.result;
  const { error } = JSON.parse(stdout) as { error: { code: string; remedy: string } };
  assert.deepEqual([code, error.code], [7, "locked"]);
  assert.match(error.remedy, /--state-dir/);
});

test("a cutover waits for those that come before it", async () => {
  await working();
  const [first, second] = machines() as [LabVm, LabVm];
  await site.apply([site.planned(first), site.planned(second, { after: [first.name] })]);
  await site.store.cutover({ vms: [second.name] });
  await site.until("it waits", async () => (await site.status(second)).state === "blocked");
  await site.store.cutover({ vms: [first.name] });
  for (const vm of [first, second]) {
    await site.until(
      `${vm.name} is cut over`,
      async () => (await site.status(vm)).state === "cut-over",
    );
    await assertMoved(site.lab, vm);
  }
  const [one, two] = [await site.status(first), await site.status(second)];
  assert.ok(one.cutOverAt! <= two.syncs.at(-1)!.at, "the second began before the first had ended");
});

test("what the plan says of a VM and cannot be done goes to the operator with a remedy", async () => {
  await working();
  const vm = site.lab.vm("three");
  const wrong = site.planned(vm, {}, { "vmware-path": "/DC0/vm/none" });
  await site.apply([{ ...wrong, schedule: { kind: "every", everyMs: 1000 } }]);
  await site.store.retry({ vms: [vm.name] }).catch(() => []);
  await site.until("it failed", async () => (await site.status(vm)).state === "failed");
  const { lastError } = await site.status(vm);
  assert.equal(lastError?.code, "vm-not-found");
  assert.ok(lastError?.remedy);
});

/** As the next version's `fleet init` does. */
async function upgradeSchema(): Promise<void> {
  const logger = createLogger({ level: "silent", pretty: false });
  const options = { application: "test" };
  await using database = new FleetDatabase(site.fleet.url, undefined, logger, options);
  const steps = [...schemaSteps, "CREATE TABLE added ()"];
  await database.transaction((queries) => initFleet(queries, {}, steps));
}

// The last one: the workers of this version have no fleet after it.
test("workers that meet a newer schema end what they have, by its end or at a checkpoint, and take nothing new", async () => {
  if (worker?.child.exitCode === null) worker.child.kill("SIGTERM");
  await worker?.result;
  const disks = [{ capacityBytes: 6 * mebibyte, fill }];
  const whole = await site.lab.addVm({ name: "whole", disks });
  const half = await site.lab.addVm({ name: "half", disks });
  const next = await site.lab.addVm({ name: "next", disks });
  const rate = (text: string) => ({ "max-rate": text, "source-connections": "1" });
  const begun = [
    site.planned(whole, { labels: ["one=1"] }, rate("512K")),
    site.planned(half, { labels: ["two=2"] }, rate("64K")),
  ];
  await site.apply(begun);
  const full = site.start("full", "--label", "one=1");
  const roomy = site.start("roomy", "--label", "two=2", "--parallel-vms", "2");
  for (const vm of [whole, half]) {
    await site.until(`${vm.name} is copied`, async () => {
      return ((await site.status(vm)).progress?.doneBytes ?? 0) > 0;
    });
  }
  await upgradeSchema();
  await site.apply([...begun, site.planned(next)]);
  for (const { result, log } of [full, roomy]) {
    const { code, stdout } = await result;
    const { error } = JSON.parse(stdout) as { error: { code: string; remedy: string } };
    assert.deepEqual([code, error.code], [11, "fleet-database-schema"], log());
    assert.match(error.remedy, /newer migratekit/);
  }
  const endings = await Promise.all(
    [whole, half, next].map(async (vm) => {
      assertNoSnapshot(vm);
      const { failures, syncs } = await site.status(vm);
      return { failures, syncs: syncs.map(({ status }) => status) };
    }),
  );
  assert.deepEqual(endings, [
    { failures: 0, syncs: ["completed"] },
    { failures: 0, syncs: ["interrupted"] },
    { failures: 0, syncs: [] },
  ]);
  await assertEqualTargets(site.lab, whole);
  assert.equal(await site.fleet.sql("SELECT count(*) FROM worker"), "0", "both said that they end");
});
