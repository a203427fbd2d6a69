// A fleet in one place: machines on several ESXi hosts, a PostgreSQL, and workers as processes of their own,
// all spoken to by the command line as an operator does it.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import { compareFiles } from "./compare.ts";
import { LabPostgres } from "./postgres.ts";
import { type CliResult, type CliRun, startCli } from "./run-cli.ts";
import { type Lab, startLab } from "./start-lab.ts";
import { frozenCopies } from "./vcenter/frozen-copies.ts";
import type { LabVm } from "./vcenter/lab-vm.ts";
import type { VmSpec } from "./vcenter/vm-spec.ts";

const database = "fleet";
const key = 2000;

export interface FleetWish {
  readonly hosts: readonly string[];
  /** Each with its one disk. */
  readonly machines: readonly VmSpec[];
  readonly hostConnections: number;
  readonly leaseTime: string;
  readonly takeoverGrace: string;
  /** Of every target's server, as the plan states it. */
  readonly targetDropTime: string;
  readonly parentDir?: string;
}

/** An entry of the plan besides where the machine is and goes. */
export type PlanFields = Readonly<Record<string, string | number | readonly string[]>>;

export interface FleetWorker extends CliRun {
  readonly name: string;
  log(): string;
}

/** What is looked at of `fleet status --json`. */
export interface FleetOverview {
  readonly vms: readonly {
    readonly name: string;
    readonly wave: string;
    readonly state: string;
    readonly worker?: string;
    readonly progress?: { readonly done_bytes: number };
    readonly last_error?: { readonly code: string; readonly message: string };
    readonly runs: readonly {
      readonly status: string;
      /** Its end, ISO 8601. */
      readonly at: string;
      readonly duration_ms: number;
      readonly worker: string;
    }[];
  }[];
}

export class FleetSite implements AsyncDisposable {
  readonly lab: Lab;
  readonly postgres: LabPostgres;
  readonly planFile: string;
  /** Of each host, the most disks that were open at once, ever or since `lab.nfc.forgetPeak`. */
  readonly peaks: ReadonlyMap<string, number>;
  readonly #wish: FleetWish;
  readonly #workers = new Map<string, FleetWorker>();
  readonly #stack: AsyncDisposableStack;

  private constructor(
    wish: FleetWish,
    lab: Lab,
    postgres: LabPostgres,
    stack: AsyncDisposableStack,
  ) {
    this.#wish = wish;
    this.lab = lab;
    this.postgres = postgres;
    this.planFile = join(lab.dir, "plan.yaml");
    this.peaks = lab.nfc.countBy((path) => hostOf(lab, path));
    this.#stack = stack;
  }

  /** The database is there and empty. */
  static async start(wish: FleetWish): Promise<FleetSite> {
    await using stack = new AsyncDisposableStack();
    const postgres = stack.use(await LabPostgres.start({ durable: true }));
    await postgres.createDatabase(database);
    const { parentDir, hosts, machines } = wish;
    const lab = stack.use(
      await startLab({
        ...{ targets: "direct", vms: [...machines] },
        // The judge compares each machine with what its newest snapshot froze.
        vcenter: { hosts: [...hosts], frozenKept: 3 * machines.length },
        ...(parentDir === undefined ? {} : { parentDir }),
      }),
    );
    return new FleetSite(wish, lab, postgres, stack.move());
  }

  get machines(): readonly LabVm[] {
    return this.#wish.machines.map(({ name }) => this.lab.vm(name));
  }

  get workers(): readonly FleetWorker[] {
    return [...this.#workers.values()];
  }

  /** One command of the group, to its end. */
  async fleet(command: string, ...args: string[]): Promise<CliResult> {
    return await startCli({ args: ["fleet", command, ...args], env: this.#env }).result;
  }

  /** @throws Error for any other ending than a good one */
  async succeed(command: string, ...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.fleet(command, ...args);
    if (code !== 0) throw new Error(`fleet ${command} ended with ${code}: ${stderr}${stdout}`);
    return stdout;
  }

  get url(): string {
    return this.postgres.url(database, database);
  }

  get #env(): Record<string, string> {
    return { MIGRATEKIT_FLEET_DATABASE: this.url };
  }

  async init(): Promise<string> {
    const { leaseTime, takeoverGrace } = this.#wish;
    return await this.succeed(
      "init",
      ...["--lease-time", leaseTime, "--takeover-grace", takeoverGrace],
    );
  }

  /** All machines, or those that are named, each with what `fieldsOf` says. */
  async writePlan(
    fieldsOf: (vm: LabVm, index: number) => PlanFields,
    machines: readonly LabVm[] = this.machines,
    file = this.planFile,
  ): Promise<string> {
    const { lab } = this;
    const { hostConnections, targetDropTime } = this.#wish;
    const plan = {
      fleet: { "host-connections": hostConnections, "target-drop-time": targetDropTime },
      defaults: {
        ...{ "vmware-endpoint": lab.vcenter.endpoint, "vmware-username": lab.vcenter.username },
        ...{ "vmware-thumbprint": lab.vcenter.thumbprintSha1, "target-drop-time": targetDropTime },
      },
      vms: machines.map((vm, index) => ({
        "vmware-path": vm.path,
        "nbd-targets": `${key}:${lab.targets.disksOf(vm)[0]!.exportUri}`,
        ...fieldsOf(vm, index),
      })),
    };
    await writeFile(file, stringify(plan));
    return file;
  }

  /** An appliance: its own state directory, named like it. `within`: a program that starts it in its place. */
  async startWorker(
    name: string,
    options: { readonly parallel?: number; readonly within?: readonly string[] } = {},
  ): Promise<FleetWorker> {
    const { lab } = this;
    const stateDir = join(lab.dir, `worker-${name}`);
    await mkdir(stateDir, { recursive: true, mode: 0o700 });
    let log = "";
    const run = startCli({
      args: [
        ...["fleet", "work", "--worker-name", name],
        ...["--parallel-vms", String(options.parallel ?? 2), "--state-dir", stateDir],
        ...["--vmware-password-file", lab.passwordFile, "--json"],
        ...["--vddk-plugin", lab.vddk.plugin, "--vddk-libdir", lab.vddk.libdir],
      ],
      env: this.#env,
      ...(options.within ? { within: options.within } : {}),
      onStderrLine: (line) => {
        log += `${line}\n`;
      },
    });
    const worker = { ...run, name, log: () => log };
    this.#workers.set(name, worker);
    return worker;
  }

  async overview(): Promise<FleetOverview> {
    return JSON.parse(await this.succeed("status", "--json")) as FleetOverview;
  }

  /** The target of a machine against what its newest snapshot froze; a text where they differ. */
  async difference(vm: LabVm): Promise<string | undefined> {
    const { lab } = this;
    const newest = frozenCopies(lab.dir, vm.moref).at(-1);
    if (newest === undefined) return "no snapshot was ever made";
    const { imagePath, capacityBytes } = lab.frozenDisk(vm, key, newest.snapshot);
    const { targetFile } = lab.targets.disksOf(vm)[0]!;
    const { equal, difference } = await compareFiles(imagePath, targetFile, capacityBytes);
    return equal ? undefined : (difference ?? "they differ");
  }

  /** Of all workers, for a failure's message. */
  logs(): string {
    return this.workers.map((worker) => `--- ${worker.name}\n${worker.log()}`).join("");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { child } of this.workers) child.kill("SIGKILL");
    await Promise.all(this.workers.map(({ result }) => result));
    await this.#stack.disposeAsync();
  }
}

/** `[datastore1] db01/db01.vmdk` lies in the folder of its machine. */
function hostOf(lab: Lab, path: string): string {
  const folder = /\] ([^/]+)\//.exec(path)?.[1] ?? path;
  return lab.vm(folder).record.host;
}
