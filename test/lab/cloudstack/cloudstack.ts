/**
 * A stand-in of Apache CloudStack's API whose host is a real QEMU.
 *
 *     await using cloud = await startCloudStack({ boots: false });
 *     cloud.url                    // http://127.0.0.1:PORT/client/api
 *     cloud.account().apiKey       // and .secretKey: of an ordinary user
 *     cloud.deviceFolder           // stands for the appliance's /dev/disk/by-id: virtio-<serial> -> file
 *     cloud.appliance.id           // a running machine of that account, whose volumes are those devices
 *     cloud.faults.add({ name: "lostAnswer", command: "deployVirtualMachine", count: 1 })
 *     cloud.calls.commands()       // what was called, in order
 *     cloud.violations             // what must never be; a test ends with it empty
 *
 * Rules are CloudStack's (4.18 to 4.22): most are judged inside the job. A volume is a raw file, opened by
 * QEMU with its own locks; `cloud.volumeFile(id)` is where. With `boots: false` a running machine is a QEMU
 * that stands before its first instruction: it holds volumes, and takes 50 ms.
 *
 * Detaching from the appliance takes the device's link away at once, then waits until no process has
 * the file open (`detachTimeoutMs`), else the job fails and the link is back.
 *
 * Ordinary users may not call listHypervisorCapabilities nor listStoragePools, as in CloudStack.
 */

import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { guardFolder, releaseFolder } from "../process.ts";
import { type CloudStackCall, CloudStackCallLog } from "./api/call-log.ts";
import { CloudStackFaults } from "./api/faults.ts";
import { Jobs } from "./api/jobs.ts";
import { ApiHttpServer, apiPath } from "./api/server.ts";
import { expungeNow } from "./commands/lifecycle.ts";
import { type Domain, Hypervisor } from "./hypervisor/hypervisor.ts";
import { VolumeStorage } from "./hypervisor/storage.ts";
import {
  type AccountRecord,
  gibibyte,
  type InstanceRecord,
  type ResourceLimits,
  timeText,
  type VolumeRecord,
} from "./world/records.ts";
import { type Catalogue, noLimits, seedCatalogue, seedNames } from "./world/seed.ts";
import { type CloudSettings, World } from "./world/world.ts";

export { seedNames } from "./world/seed.ts";

export interface CloudStackOptions extends Partial<CloudSettings> {
  /** Whether machines run; else they only hold their volumes. [true] */
  readonly boots?: boolean;
  /** How long a job waits before it begins. [5] */
  readonly jobDelayMs?: number;
  /** How long a guest may take to shut down when it is asked to. [20,000] */
  readonly shutdownTimeoutMs?: number;
  /** Of the appliance's cards. [those of this machine's interfaces, or one that is made up] */
  readonly applianceMacs?: readonly string[];
  /** Most that an account may have, where it differs from no limit. */
  readonly limits?: Partial<ResourceLimits>;
  /** More, or other, than the seed has. */
  readonly change?: (catalogue: Catalogue) => void;
  /** [a free one] */
  readonly port?: number;
  /** Where the cloud's folder is made. [the system's temporary folder] */
  readonly parentDir?: string;
}

export interface SourceMachine {
  readonly name: string;
  /** In lower case. */
  readonly macs: readonly string[];
}

export interface CloudStackLab extends AsyncDisposable {
  /** `http://127.0.0.1:PORT/client/api` */
  readonly url: string;
  readonly dir: string;
  readonly catalogue: Catalogue;
  readonly settings: CloudSettings;
  readonly appliance: InstanceRecord;
  readonly deviceFolder: string;
  readonly faults: CloudStackFaults;
  readonly calls: CloudStackCallLog;
  readonly violations: readonly string[];
  /** By name. [the ordinary user's] */
  account(name?: string): AccountRecord;
  /** All that are not expunged, the appliance left out. */
  instances(): InstanceRecord[];
  /** All that are not expunged, the appliance's own root left out. */
  volumes(): VolumeRecord[];
  volumeFile(volumeId: string): string;
  deviceOf(volumeId: string): string;
  /** The QEMU of a running machine, with its console. */
  domain(instanceId: string): Domain | undefined;
  setLimits(accountOrProject: string, limits: Partial<ResourceLimits>): void;
  /**
   * The source's machines that run just now. From now on it is a violation when one does while a machine
   * runs here that has one of its MACs on another network than an isolated one.
   */
  watchSources(running: () => readonly SourceMachine[]): void;
  /** Called when a call was carried out, before it is answered. */
  onCall(listener: (call: CloudStackCall) => void): void;
  /** The management server starts anew: what was under way fails without a result. */
  restart(): void;
  /** Waits until all jobs have done their work, those that hang left out. */
  settled(): Promise<void>;
  /** The port is closed, then opened again. */
  refuse(): Promise<void>;
  accept(): Promise<void>;
  /** What the cleaner does a day later: destroyed machines are expunged. */
  expungeDestroyed(): Promise<void>;
}

const applianceDiskBytes = 4 * gibibyte;

export async function startCloudStack(options: CloudStackOptions = {}): Promise<CloudStackLab> {
  await using stack = new AsyncDisposableStack();
  const dir = await mkdtemp(join(options.parentDir ?? tmpdir(), "cloudstack-"));
  guardFolder(dir);
  stack.defer(async () => {
    await rm(dir, { recursive: true, force: true });
    releaseFolder(dir);
  });
  const world = makeWorld(options);
  const storage = await VolumeStorage.in(dir);
  const { boots = true, shutdownTimeoutMs = 20_000 } = options;
  const hypervisor = new Hypervisor({ folder: dir, boots, shutdownTimeoutMs });
  stack.defer(() => hypervisor.stopAll());
  const appliance = addAppliance(world, options.applianceMacs ?? ownMacs());
  const faults = new CloudStackFaults();
  const jobs = new Jobs(faults, options.jobDelayMs ?? 5);
  stack.defer(() => jobs.stop());
  const calls = new CloudStackCallLog();
  const listeners: ((call: CloudStackCall) => void)[] = [];
  let runningSources: () => readonly SourceMachine[] = () => [];
  const context = { world, jobs, storage, hypervisor };
  const server = new ApiHttpServer(context, faults, calls, (call) => {
    noteTwins(world, runningSources());
    for (const listener of listeners) listener(call);
  });
  await server.listen(options.port ?? 0);
  const { port } = server;
  stack.defer(() => server.close());
  const owned = stack.move();
  return {
    ...{ url: `http://127.0.0.1:${port}${apiPath}`, dir, appliance, faults, calls },
    ...{ catalogue: world.catalogue, settings: world.settings, violations: world.violations },
    deviceFolder: storage.deviceFolder,
    account: (name = seedNames.account) => {
      const found = world.catalogue.accounts.find((account) => account.name === name);
      if (!found) throw new Error(`no account ${name}`);
      return found;
    },
    instances: () => world.standing.filter(({ isAppliance }) => !isAppliance),
    volumes: () =>
      [...world.volumes.values()].filter(
        ({ state, instanceId, deviceId }) =>
          state !== "Expunged" && !(instanceId === appliance.id && deviceId === 0),
      ),
    volumeFile: (id) => storage.fileOf(id),
    deviceOf: (id) => storage.deviceOf(id),
    domain: (id) => hypervisor.domainOf(id),
    setLimits: (name, limits) => world.limits.set(name, { ...noLimits, ...limits }),
    watchSources: (running) => {
      runningSources = running;
    },
    onCall: (listener) => void listeners.push(listener),
    restart: () => jobs.restart(),
    settled: () => jobs.settled(),
    refuse: () => server.close(),
    accept: () => server.listen(port),
    expungeDestroyed: async () => {
      for (const vm of world.standing)
        if (vm.state === "Destroyed") await expungeNow({ world, storage }, vm);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function makeWorld(options: CloudStackOptions): World {
  const catalogue = seedCatalogue();
  options.change?.(catalogue);
  const world = new World(catalogue, {
    dataVolumesMax: options.dataVolumesMax ?? 13,
    usersMayExpunge: options.usersMayExpunge ?? true,
    usersSeeDestroyed: options.usersSeeDestroyed ?? false,
    readOnlyDetails: options.readOnlyDetails ?? ["dataDiskController", "rootDiskController"],
    deniedDetails: options.deniedDetails ?? [],
    version: options.version ?? "4.19.1.0",
    apiLimit: options.apiLimit,
    detachTimeoutMs: options.detachTimeoutMs ?? 10_000,
  });
  world.limits.set("*", { ...noLimits, ...options.limits });
  return world;
}

/** A source that runs beside the machine that took its place. */
function noteTwins(world: World, sources: readonly SourceMachine[]): void {
  const isolated = world.catalogue.networks
    .filter(({ type }) => type === "Isolated")
    .map(({ id }) => id);
  const running = world.standing.filter(
    ({ isAppliance, state }) => !isAppliance && (state === "Running" || state === "Starting"),
  );
  for (const { name, nics } of running)
    for (const source of sources) {
      const twin = nics.some(
        ({ mac, networkId }) => !isolated.includes(networkId) && source.macs.includes(mac),
      );
      const text = `${name} runs while its source ${source.name} runs`;
      if (twin && !world.violations.includes(text)) world.violations.push(text);
    }
}

function ownMacs(): string[] {
  const macs = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, mac }) => !internal && mac !== "00:00:00:00:00:00")
    .map(({ mac }) => mac);
  const random = [
    "02",
    ...Array.from(randomBytes(5), (byte) => byte.toString(16).padStart(2, "0")),
  ];
  return macs.length > 0 ? [...new Set(macs)] : [random.join(":")];
}

/** A machine that has been there for long, with a root of its own that nobody looks into. */
function addAppliance(world: World, macs: readonly string[]): InstanceRecord {
  const { catalogue } = world;
  const operator = catalogue.accounts.find(({ name }) => name === seedNames.account)!;
  const owner = { account: operator.name, domainId: operator.domainId };
  const [zone] = catalogue.zones;
  const offering = catalogue.serviceOfferings.find(({ memoryMiB }) => memoryMiB !== undefined)!;
  const network = catalogue.networks.find(({ name }) => name === seedNames.network)!;
  const appliance: InstanceRecord = {
    ...{ id: randomUUID(), name: "appliance", displayName: "appliance", state: "Running" },
    ...{ owner, zoneId: zone!.id, templateId: catalogue.templates[0]!.id },
    ...{ offeringId: offering.id, cpuNumber: 2, cpuSpeedMHz: 2000, memoryMiB: 4096 },
    ...{ details: {}, osTypeId: catalogue.osTypes[1]!.id, bootType: "BIOS", bootMode: "LEGACY" },
    nics: macs.map((mac, index) => ({
      ...{ id: randomUUID(), networkId: network.id, mac, ip: `192.0.2.${2 + index}` },
    })),
    ...{ created: timeText(), isAppliance: true },
  };
  world.instances.set(appliance.id, appliance);
  const rootId = randomUUID();
  world.volumes.set(rootId, {
    ...{ id: rootId, name: "ROOT-appliance", state: "Ready", type: "ROOT" },
    ...{ sizeBytes: applianceDiskBytes, instanceId: appliance.id, deviceId: 0 },
    ...{ attached: timeText(), offeringId: offering.id, pool: catalogue.diskOfferings[0]!.pool },
    ...{ owner, zoneId: zone!.id, created: timeText(), madeFor: "machine" },
  });
  return appliance;
}
