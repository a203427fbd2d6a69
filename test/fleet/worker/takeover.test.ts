/** Workers that die, stand still or lose the database in the middle of a copy. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { assertEqualTargets, assertNoSnapshot } from "../../e2e/migrate-checks.ts";
import { commandLineOf, descendantsOf } from "../../lab/process-table.ts";
import type { LabVm } from "../../lab/vcenter/lab-vm.ts";
import { type LoggedTarget, logTarget, type Worker, WorkersLab } from "./workers.ts";

const mebibyte = 1 << 20;
const sizeBytes = 24 * mebibyte;
const fill = { seed: 4, dataRatio: 0.9, zeroRatio: 0.02 };
/** Not shorter than a worker's looks for work are apart, twice. */
const ttlMs = 6000;
const graceMs = 1500;

let site: WorkersLab;
let count = 0;
before(async () => {
  site = await WorkersLab.start(
    {
      vms: [{ name: "other", disks: [{ capacityBytes: mebibyte }] }],
      vcenter: { hosts: ["localhost"] },
    },
    ttlMs,
    graceMs,
  );
});
after(() => site[Symbol.asyncDispose]());
beforeEach(() => site.lab.vddk.setFaults({}));

interface Begun extends AsyncDisposable {
  readonly vm: LabVm;
  readonly target: LoggedTarget;
  readonly worker: Worker;
  /** Another, which ends with the test. */
  heir(): Worker;
}

/** A worker in the middle of the first copy of a machine of its own, which takes a few seconds. */
async function copying(): Promise<Begun> {
  await using stack = new AsyncDisposableStack();
  const name = `moved-${++count}`;
  const vm = await site.lab.addVm({ name, disks: [{ capacityBytes: sizeBytes, fill }] });
  const [disk] = site.lab.targets.disksOf(vm);
  const target = stack.use(await logTarget(disk!.targetFile, join(site.lab.dir, `${name}.log`)));
  const settings = { "nbd-targets": `${disk!.key}:${target.server.uri}`, "max-rate": "2M" };
  await site.apply([site.planned(vm, {}, settings)]);
  const started: Worker[] = [];
  const start = (role: string) => {
    const worker = site.start(`${name}-${role}`);
    started.push(worker);
    return worker;
  };
  stack.defer(async () => {
    for (const { child } of started) child.kill("SIGKILL");
    await Promise.all(started.map(({ result }) => result));
  });
  const worker = start("owner");
  await site.until("it copies", () => target.total() > 5);
  const kept = stack.move();
  const heir = () => start("heir");
  return { vm, target, worker, heir, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** So many bytes were brought by a run, as its ending says. */
const copiedBytes = (ending: unknown) =>
  (ending as { disks: { copied_bytes: number; resumed: boolean }[] }).disks[0]!;

test("a worker that is killed in mid-copy is followed by another, which goes on where it was", async () => {
  await using begun = await copying();
  const { vm, worker } = begun;
  // As much as the fleet has been told of is not copied again.
  const pushedAt = () => site.fleet.sql("SELECT max(pushed_at) FROM state");
  const before = await pushedAt();
  await site.until("its journal is pushed", async () => (await pushedAt()) !== before);
  worker.child.kill("SIGKILL");
  const other = begun.heir();
  const { syncs } = await site.synced(vm);
  const disk = copiedBytes(syncs.at(-1)!.ending);
  assert.equal(disk.resumed, true);
  assert.ok(disk.copied_bytes < 0.9 * sizeBytes, `${disk.copied_bytes} bytes again`);
  assert.equal(syncs.at(-1)!.worker, other.name);
  await assertEqualTargets(site.lab, vm);
  assertNoSnapshot(vm);
});

test("a worker that stands still beyond its lease and goes on writes nothing more, and leaves the snapshot", async () => {
  await using begun = await copying();
  const { vm, target, worker } = begun;
  worker.child.kill("SIGSTOP");
  const stopped = new Set(target.writes().keys());
  begun.heir();
  await site.until("another took over and copies", () =>
    [...target.writes().keys()].some((connection) => !stopped.has(connection)),
  );
  const writesOf = () => [...stopped].map((connection) => target.writes().get(connection));
  const before = writesOf();
  worker.child.kill("SIGCONT");
  await site.until("it has learnt of it", () =>
    worker.log().includes("another worker has the VM now"),
  );
  assert.equal(vm.snapshots.length, 1, "the heir's snapshot");
  await site.synced(vm);
  assert.deepEqual(writesOf(), before, "it wrote after its lease");
  await assertEqualTargets(site.lab, vm);
  assertNoSnapshot(vm);
  assert.equal(worker.child.exitCode, null, "it works on");
});

/** Each has its connections to the host. */
const nbdkitsOf = ({ child }: Worker) =>
  descendantsOf(child.pid!).filter(
    ({ pid, ended }) => !ended && / --exit-with-parent /.test(commandLineOf(pid)),
  ).length;

test("while the database is away for longer than a lease the copy waits without a connection to the host, and nobody takes over", async () => {
  await using begun = await copying();
  const { vm, target, worker } = begun;
  begun.heir();
  await site.until("it looks for work", async () =>
    (await site.store.status()).workers.some(({ name, alive }) => alive && name.endsWith("heir")),
  );
  assert.equal(nbdkitsOf(worker), 1);
  await site.server.stop();
  await site.until("it has stopped writing", async () => {
    const before = target.total();
    await sleep(1500);
    return target.total() === before;
  });
  const before = target.total();
  await sleep(ttlMs);
  assert.equal(target.total(), before, "it wrote behind its lease");
  assert.equal(nbdkitsOf(worker), 0, "its connections to the host are open");
  const connections = target.writes().size;
  await site.server.start();
  const { syncs } = await site.synced(vm);
  assert.deepEqual(
    syncs.map(({ status, worker: by }) => ({ status, by })),
    [{ status: "completed", by: worker.name }],
  );
  assert.equal(target.writes().size, connections, "somebody else wrote");
  assert.ok(target.total() > before, "it had written all before");
  await assertEqualTargets(site.lab, vm);
  assertNoSnapshot(vm);
});
