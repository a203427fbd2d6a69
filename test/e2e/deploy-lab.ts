// A machine with two disks and two cards at VMware, its volumes at CloudStack's appliance, and cutovers between them.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { RehearsalSummary } from "../../src/migration/rehearse/document.ts";
import { State } from "../../src/state/state.ts";
import {
  type CloudStackLab,
  type CloudStackOptions,
  seedNames,
  startCloudStack,
} from "../lab/cloudstack/cloudstack.ts";
import type { Catalogue } from "../lab/cloudstack/world/seed.ts";
import { compareFiles } from "../lab/compare.ts";
import { type Exporter, startExporter } from "../lab/exporter.ts";
import { type CliResult, type CliRun, startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import type { VmSpec } from "../lab/vcenter/vm-spec.ts";
import { RawClient } from "../lab-tests/cloudstack-client.ts";
import type { CutoverOutcome } from "../migration/cutover/fixtures/cutover.ts";
import { nfcPort } from "./cli-commands.ts";

const fixture = join(import.meta.dirname, "../migration/cutover/fixtures/cutover.ts");
const node = join(import.meta.dirname, "../../.ci/node");

export const nics = [
  { mac: "00:50:56:00:aa:01", network: "VM Network", addresses: ["192.0.2.70/24"] },
  { mac: "00:50:56:00:aa:02", network: "Backup", addresses: ["192.0.2.71/24"] },
];

export interface Cutover extends CutoverOutcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly log: string;
}

export interface StartedCutover {
  readonly child: ChildProcess;
  readonly result: Promise<Cutover>;
}

/** The boot disk is the one with the higher key. */
export function machineOf(name: string): VmSpec {
  const fill = { seed: 5, dataRatio: 0.6, zeroRatio: 0.1 };
  return {
    name,
    disks: [
      { key: 2000, capacityBytes: 4 << 20, fill },
      { key: 2001, capacityBytes: 2 << 20, fill: { ...fill, seed: 6 } },
    ],
    hardware: { firmware: "efi", bootDiskKey: 2001, nics },
  };
}

/** CloudStack takes one card of a machine on each network. */
function addIsolatedNetwork({ networks }: Catalogue): void {
  const isolated = networks.find(({ name }) => name === seedNames.isolatedNetwork)!;
  networks.push({ ...isolated, id: randomUUID(), name: "isolated 2" });
}

export class DeployLab implements AsyncDisposable {
  readonly lab: Lab;
  readonly cloud: CloudStackLab;
  readonly client: RawClient;
  readonly vm: LabVm;
  readonly volumes: ReadonlyMap<number, string>;
  readonly exporter: Exporter;
  readonly #owned: AsyncDisposableStack;

  private constructor(
    parts: Pick<DeployLab, "lab" | "cloud" | "client" | "vm" | "volumes" | "exporter">,
    owned: AsyncDisposableStack,
  ) {
    this.lab = parts.lab;
    this.cloud = parts.cloud;
    this.client = parts.client;
    this.vm = parts.vm;
    this.volumes = parts.volumes;
    this.exporter = parts.exporter;
    this.#owned = owned;
  }

  static async start({
    spec = machineOf("web01"),
    ...options
  }: CloudStackOptions & { spec?: VmSpec } = {}): Promise<DeployLab> {
    await using stack = new AsyncDisposableStack();
    const lab = stack.use(
      await startLab({
        targets: "direct",
        vms: [spec],
        ...(options.parentDir && { parentDir: options.parentDir }),
      }),
    );
    const cloud = stack.use(
      await startCloudStack({ boots: false, change: addIsolatedNetwork, ...options }),
    );
    const client = new RawClient(cloud);
    const vm = lab.vm(spec.name);
    const volumes = new Map<number, string>();
    for (const { record } of vm.disks) {
      const sizeGiB = Math.ceil(record.capacityBytes / 1024 ** 3);
      const id = await client.volume(`${spec.name}-${record.key}`, sizeGiB);
      await client.job("attachVolume", { id, virtualmachineid: cloud.appliance.id });
      volumes.set(record.key, id);
    }
    const stateDir = join(lab.dir, "exporter");
    const exporter = stack.use(await startExporter(cloud, { stateDir }));
    const macs = (spec.hardware?.nics ?? []).map(({ mac }) => mac);
    const source = { name: vm.name, macs };
    cloud.watchSources(() => (vm.record.powerState === "poweredOn" ? [source] : []));
    return new DeployLab({ lab, cloud, client, vm, volumes, exporter }, stack.move());
  }

  get env(): Record<string, string> {
    const { apiKey, secretKey } = this.cloud.account();
    return {
      MIGRATEKIT_VDDK_NFC_PORT: nfcPort(this.lab),
      MIGRATEKIT_CLOUDSTACK_ENDPOINT: this.cloud.url,
      MIGRATEKIT_CLOUDSTACK_API_KEY: apiKey,
      MIGRATEKIT_CLOUDSTACK_SECRET_KEY: secretKey,
      MIGRATEKIT_CLOUDSTACK_APPLIANCE: this.cloud.appliance.id,
    };
  }

  /** The flags of `migrate` and `cutover`, on the volumes. */
  args(...extra: string[]): string[] {
    const [, ...given] = this.lab.migrateArgs(this.vm);
    const own = ["--nbd-targets", "--nbd-port", "--nbd-export-name"];
    const others = given.filter(
      (arg, at) => !own.includes(arg) && !own.includes(given[at - 1] ?? ""),
    );
    const volumes = [...this.volumes].map(([key, id]) => `${key}:${id}`).join(",");
    const port = String(this.exporter.port);
    return [...others, "--nbd-port", port, "--cloudstack-volumes", volumes, ...extra];
  }

  migrate(...extra: string[]): Promise<CliResult> {
    return startCli({ args: ["migrate", ...this.args("--json", ...extra)], env: this.env }).result;
  }

  /** With plain writes in virt-v2v's place. */
  start(...extra: string[]): StartedCutover {
    const defaults = [
      ...["--network", "VM Network=lan", "--network", "Backup=isolated"],
      ...["--cloudstack-offering", "Custom Instance", "--cloudstack-template", "seed"],
    ];
    const given = (_: string, at: number) => extra.includes(defaults[at - (at % 2)]!);
    const order = [
      "--yes",
      "--convert",
      "--deploy",
      ...defaults.filter((flag, at) => !given(flag, at)),
    ];
    return this.#startFixture("cutover", ...this.args(...order, ...extra));
  }

  #startFixture(...args: string[]): StartedCutover {
    const env = { ...process.env, ...this.env };
    const child = spawn(node, [fixture, "boots", ...args], { env });
    const killWithUs = () => child.kill("SIGKILL");
    process.on("exit", killWithUs);
    const result = Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]).then(
      ([stdout, log, [code, signal]]) => {
        process.off("exit", killWithUs);
        const outcome = stdout === "" ? {} : (JSON.parse(stdout) as CutoverOutcome);
        return { ...outcome, code, signal, log } as Cutover;
      },
    );
    return { child, result };
  }

  /** `rehearse --cloudstack`, in the same way; `end`: as the program has it. */
  async rehearse(...extra: string[]) {
    const order = [
      ...["--cloudstack-offering", "Custom Instance", "--cloudstack-template", "seed"],
      ...["--network", "VM Network=isolated", "--network", "Backup=isolated 2"],
    ];
    const args = [...this.#known(), "--cloudstack", ...order, ...extra];
    const { result, ...run } = await this.#startFixture("rehearse", ...args).result;
    return { ...run, result: result as object as RehearsalSummary | undefined };
  }

  endRehearsal(): Promise<CliResult> {
    const args = ["rehearse", ...this.#known(), "--cloudstack", "--end", "--json"];
    return startCli({ args, env: this.env }).result;
  }

  #known(): string[] {
    return ["--vmware-path", this.vm.path, "--state-dir", this.lab.stateDir];
  }

  cutover(...extra: string[]): Promise<Cutover> {
    return this.start(...extra).result;
  }

  /** `connected`: with the vCenter's settings. */
  rollback(how: { connected?: boolean; extra?: string[] } = {}): Promise<CliResult> {
    return this.startRollback(how).result;
  }

  startRollback({ connected = false, extra = [] as string[] } = {}): CliRun {
    const [, ...args] = this.lab.migrateArgs(this.vm);
    const given = (flag: string) => [flag, args[args.indexOf(flag) + 1]!];
    const source = ["--vmware-endpoint", "--vmware-username", "--vmware-password-file"];
    const vddk = ["--vmware-thumbprint", "--vddk-plugin", "--vddk-libdir"];
    const more = connected ? [...source, ...vddk].flatMap(given) : [];
    return startCli({
      args: ["rollback", ...this.#known(), "--target-drop-time", "0s", "--json", ...more, ...extra],
      env: this.env,
    });
  }

  /** Where each volume is, by disk: the appliance, a machine and its device, nowhere. */
  places(): Record<number, string> {
    const all = this.cloud.volumes();
    const nameOf = (id: string | undefined) =>
      id === this.cloud.appliance.id
        ? "appliance"
        : this.cloud.instances().find((each) => each.id === id)?.name;
    return Object.fromEntries(
      [...this.volumes].map(([key, id]) => {
        const volume = all.find((each) => each.id === id);
        const holder = nameOf(volume?.instanceId);
        if (holder === undefined) return [key, volume === undefined ? "gone" : "nowhere"];
        return [key, holder === "appliance" ? holder : `${holder} ${volume!.deviceId}`];
      }),
    );
  }

  fileOf(key: number): string {
    return this.cloud.volumeFile(this.volumes.get(key)!);
  }

  /** The volumes equal the disks of the machine as they are now. */
  async assertSynced(): Promise<void> {
    for (const disk of this.vm.disks) {
      const { key, capacityBytes } = disk.record;
      const { equal, difference } = await compareFiles(
        disk.imagePath,
        this.fileOf(key),
        capacityBytes,
      );
      assert.ok(equal, `disk-${key}: ${difference}`);
    }
  }

  /** Nothing of ours is left in CloudStack but the volumes at the appliance. */
  assertBack(): void {
    assert.deepEqual(
      this.cloud.instances().map(({ name }) => name),
      [],
    );
    for (const place of Object.values(this.places())) assert.equal(place, "appliance");
    assert.equal(this.cloud.volumes().length, this.volumes.size, "no root is left over");
    assert.deepEqual(this.cloud.violations, []);
  }

  /** As the state has it. */
  deployment() {
    using state = State.openExisting(this.lab.stateDir);
    const identity = state!.listVms().find(({ vmPath }) => vmPath === this.vm.path)!;
    return state!.deployments.read(identity, "cutover");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}
