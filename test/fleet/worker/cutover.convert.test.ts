/** A cutover under a lease that converts: its barriers are waited at, and whoever lost the VM leaves the targets alone. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { LabVm } from "../../lab/vcenter/lab-vm.ts";
import { writes } from "../../migration/cutover/fixtures/plain-writes.ts";
import { bob } from "../database/fleet.ts";
import { type Witness, WorkersLab } from "./workers.ts";

const fixture = join(import.meta.dirname, "fixtures/converting-worker.ts");
const node = join(import.meta.dirname, "../../../.ci/node");
const ttlMs = 6000;
const fill = { seed: 4, dataRatio: 0.6, zeroRatio: 0.1 };

let site: WorkersLab;
before(async () => {
  const vms = ["converted", "lost"].map((name) => ({
    ...{ name, disks: [{ capacityBytes: 4 << 20, fill }] },
    guestShutdown: { afterMs: 0 },
  }));
  site = await WorkersLab.start({ vms, vcenter: { hosts: ["localhost"] } }, ttlMs, 1000);
});
after(() => site[Symbol.asyncDispose]());

interface Converting extends AsyncDisposable, Witness {
  readonly vm: LabVm;
  readonly child: ChildProcess;
  /** Lets the conversion go on. */
  goOn(): Promise<void>;
  /** What the target holds. */
  target(): Promise<Buffer>;
}

/** A worker that has cut a VM over as far as its conversion. */
async function converting(name: string): Promise<Converting> {
  const { lab, fleet, store } = site;
  const vm = lab.vm(name);
  const goAhead = join(lab.dir, `${name}-goes-on`);
  await store.apply({
    ...{ limits: { hostConnections: 24, datastoreRuns: 0, targetRuns: 0 }, targetDropMs: 0 },
    vms: [site.planned(vm, { schedule: { kind: "once" } }, { convert: "true" })],
  });
  await store.cutover({ vms: [name] });
  const args = [
    ...["fleet", "work", "--fleet-database", fleet.url, "--worker-name", `worker-${name}`],
    ...["--vmware-password-file", lab.passwordFile, "--state-dir", join(lab.dir, `state-${name}`)],
    ...["--vddk-plugin", lab.vddk.plugin, "--vddk-libdir", lab.vddk.libdir],
  ];
  const child = spawn(node, [fixture, goAhead, ...args], { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (part: string) => {
    log += part;
  });
  const ended = once(child, "close");
  const begun: Converting = {
    ...{ name, vm, child, log: () => log },
    goOn: () => writeFile(goAhead, ""),
    target: () => readFile(lab.targets.disksOf(vm)[0]!.targetFile),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
  await using stack = new AsyncDisposableStack();
  stack.use(begun);
  await site.until("it converts", () => log.includes("converting the guest"), [begun]);
  stack.move();
  return begun;
}

async function contentOf(vm: LabVm): Promise<Buffer> {
  const content = await readFile(vm.disks[0]!.imagePath);
  for (const { byte, offset, length } of writes) content.fill(byte, offset, offset + length);
  return content;
}

test("the conversion is written once the fleet knows of it, and the VM is cut over", async () => {
  await using run = await converting("converted");
  const before = await run.target();
  await site.server.stop();
  await run.goOn();
  await site.until(
    "it waits at the barrier",
    () => run.log().includes("barrier before writing the conversion to the targets"),
    [run],
  );
  await sleep(1000);
  assert.ok((await run.target()).equals(before), "it wrote before the fleet knew");
  await site.server.start();
  const cutOver = async () => (await site.status(run.vm)).state === "cut-over";
  await site.until("it is cut over", cutOver, [run]);
  const content = await contentOf(run.vm);
  assert.ok((await run.target()).subarray(0, content.length).equals(content));
  const barriers = [...run.log().matchAll(/"barrier before ([^"]*)"/g)].map(([, what]) => what!);
  assert.deepEqual(barriers.slice(-3), [
    "writing the conversion to the targets",
    "the end of the conversion",
    "the end of the cutover",
  ]);
  assert.equal(run.vm.record.powerState, "poweredOff");
});

test("a worker that loses the VM while it converts leaves the targets as they were synced", async () => {
  await using run = await converting("lost");
  const before = await run.target();
  run.child.kill("SIGSTOP");
  let heir: Awaited<ReturnType<typeof site.store.claim>>;
  await site.until("another has it", async () => (heir = await site.store.claim(bob)), [run]);
  assert.deepEqual([heir!.vm.name, heir!.action, heir!.takenOver], ["lost", "cutover", true]);
  await run.goOn();
  run.child.kill("SIGCONT");
  await site.until(
    "it has learnt of it",
    () => run.log().includes("another worker has the VM now"),
    [run],
  );
  run.child.kill("SIGTERM");
  await once(run.child, "close");
  assert.ok((await run.target()).equals(before), "it wrote to a target of another's");
  assert.equal(run.vm.record.powerState, "poweredOff", "the heir's to decide");
  assert.equal(await site.store.renew(heir!), "go-on");
});
