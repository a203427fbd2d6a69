/** A cutover under a lease that makes a machine in CloudStack: whoever may have lost the VM makes none. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { nfcPort } from "../../e2e/cli-commands.ts";
import { machineOf } from "../../e2e/deploy-lab.ts";
import { type CloudStackLab, startCloudStack } from "../../lab/cloudstack/cloudstack.ts";
import { type Exporter, startExporter } from "../../lab/exporter.ts";
import type { LabVm } from "../../lab/vcenter/lab-vm.ts";
import { RawClient } from "../../lab-tests/cloudstack-client.ts";
import { type Witness, WorkersLab } from "./workers.ts";

const fixture = join(import.meta.dirname, "fixtures/converting-worker.ts");
const node = join(import.meta.dirname, "../../../.ci/node");
const ttlMs = 6000;
const graceMs = 1000;
/** One network takes one card of a machine, and each address once. */
const specOf = (name: string, at: number) => {
  const { hardware, ...spec } = machineOf(name);
  const nics = [{ ...hardware!.nics![0]!, mac: `00:50:56:00:bb:0${at}`, addresses: [] }];
  return { ...spec, hardware: { ...hardware, nics }, guestShutdown: { afterMs: 0 } };
};

let site: WorkersLab;
let cloud: CloudStackLab;
let exporter: Exporter;
let onCall: (command: string) => void = () => {};
const owned = new AsyncDisposableStack();
before(async () => {
  const vms = ["away", "stopped"].map(specOf);
  site = owned.use(
    await WorkersLab.start({ vms, vcenter: { hosts: ["localhost"] } }, ttlMs, graceMs),
  );
  cloud = owned.use(await startCloudStack({ boots: false }));
  cloud.onCall(({ command }) => onCall(command));
  exporter = owned.use(await startExporter(cloud, { stateDir: join(site.lab.dir, "exporter") }));
  await writeFile(join(site.lab.dir, "go-ahead"), "");
});
after(() => owned[Symbol.asyncDispose]());
beforeEach(() => {
  onCall = () => {};
});

interface Worker extends AsyncDisposable, Witness {
  readonly child: ChildProcess;
}

function startWorker(name: string): Worker {
  const { lab, fleet } = site;
  const { apiKey, secretKey } = cloud.account();
  const env = {
    ...process.env,
    MIGRATEKIT_VDDK_NFC_PORT: nfcPort(lab),
    MIGRATEKIT_CLOUDSTACK_ENDPOINT: cloud.url,
    MIGRATEKIT_CLOUDSTACK_API_KEY: apiKey,
    MIGRATEKIT_CLOUDSTACK_SECRET_KEY: secretKey,
    MIGRATEKIT_CLOUDSTACK_APPLIANCE: cloud.appliance.id,
  };
  const args = [
    ...["fleet", "work", "--fleet-database", fleet.url, "--worker-name", name],
    ...["--vmware-password-file", lab.passwordFile, "--state-dir", join(lab.dir, `state-${name}`)],
    ...["--vddk-plugin", lab.vddk.plugin, "--vddk-libdir", lab.vddk.libdir],
  ];
  const stdio = ["ignore", "ignore", "pipe"] as ["ignore", "ignore", "pipe"];
  const child = spawn(node, [fixture, join(lab.dir, "go-ahead"), ...args], { env, stdio });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (part: string) => {
    log += part;
  });
  const ended = once(child, "close");
  return {
    ...{ name, child, log: () => log },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Its cutover is asked for; nobody works on it yet. */
async function asked(name: string): Promise<LabVm> {
  const { lab, store } = site;
  const vm = lab.vm(name);
  const client = new RawClient(cloud);
  const volumes: string[] = [];
  for (const { record } of vm.disks) {
    const id = await client.volume(`${name}-${record.key}`, 1);
    await client.job("attachVolume", { id, virtualmachineid: cloud.appliance.id });
    volumes.push(`${record.key}:${id}`);
  }
  const { settings, ...planned } = site.planned(
    vm,
    { schedule: { kind: "once" } },
    {
      ...{ convert: "true", deploy: "true", "cloudstack-volumes": volumes.join(",") },
      ...{ "cloudstack-offering": "Custom Instance", "cloudstack-template": "seed" },
      ...{ network: "VM Network=lan", "nbd-port": String(exporter.port) },
      "keep-old": join(lab.dir, "old-bytes"),
    },
  );
  const { "nbd-targets": _, ...own } = settings;
  await store.apply({
    ...{ limits: { hostConnections: 24, datastoreRuns: 0, targetRuns: 0 }, targetDropMs: 0 },
    vms: [{ ...planned, settings: own }],
  });
  await store.cutover({ vms: [name] });
  return vm;
}

const deploysOf = (name: string) =>
  cloud.instances().filter(({ name: instance }) => instance.startsWith(`${name}-`)).length;
const deployCalls = () =>
  cloud.calls.commands().filter((command) => command === "deployVirtualMachine").length;
const aboutToDeploy = /"barrier before deploying /;

const others: readonly Witness[] = [
  { name: "exporter", log: () => exporter.lines.join("\n") },
  { name: "calls of CloudStack", log: () => cloud.calls.commands().join("\n") },
];
const until = (what: string, workers: readonly Worker[], holds: () => unknown) =>
  site.until(what, holds, [...workers, ...others]);

/** Once the volumes are off the appliance: `look` is the nth time that the machine is looked for. */
function onLook(nth: number, work: () => void): void {
  let [detached, looks] = [0, 0];
  onCall = (command) => {
    if (command === "detachVolume") detached++;
    if (command !== "listVirtualMachines" || detached < 2 || ++looks !== nth) return;
    onCall = () => {};
    work();
  };
}

test("while the database is away no machine is made, and once it is back one is", async () => {
  const vm = await asked("away");
  let stopping: Promise<unknown> | undefined;
  onLook(1, () => {
    stopping = site.server.stop();
  });
  await using worker = startWorker("waits");
  await until("the database is away", [worker], () => stopping !== undefined);
  await stopping;
  await until("it waits at the barrier", [worker], () => aboutToDeploy.test(worker.log()));
  await sleep(ttlMs + graceMs);
  assert.equal(deployCalls(), 0, worker.log());
  await site.server.start();
  await until("it is cut over", [worker], async () => (await site.status(vm)).state === "cut-over");
  assert.equal(deploysOf("away"), 1);
  assert.equal(deployCalls(), 1);
  assert.deepEqual(cloud.violations, []);
});

test("a worker that stands still right before it makes the machine, and loses the VM, makes no second one", async () => {
  const vm = await asked("stopped");
  const before = deployCalls();
  const state = async () => (await site.status(vm)).state;
  await using first = startWorker("first");
  let stopped = false;
  onLook(2, () => {
    stopped = first.child.kill("SIGSTOP");
  });
  await until("it stands still", [first], () => stopped);
  await until("it is past its barrier", [first], () => aboutToDeploy.test(first.log()));
  await using heir = startWorker("heir");
  await until("another has made it", [first, heir], () => deploysOf("stopped") === 1);
  await until("it is cut over", [first, heir], async () => (await state()) === "cut-over");
  // Nobody tells it that another has the VM.
  await site.server.stop();
  first.child.kill("SIGCONT");
  await until("it goes on", [first], () => first.log().includes("lease could not be renewed"));
  await sleep(2000);
  assert.equal(deployCalls(), before + 1, first.log());
  await site.server.start();
  await until("it has learnt of it", [first, heir], () =>
    first.log().includes("another worker has the VM now"),
  );
  assert.equal(deployCalls(), before + 1, first.log());
  assert.equal(deploysOf("stopped"), 1);
  assert.equal((await site.status(vm)).syncs.at(-1)?.worker, "heir");
  assert.deepEqual(cloud.violations, []);
});
