/** Workers as processes of their own, on a lab and a real PostgreSQL. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { FleetStore } from "../../../src/fleet/database/store.ts";
import type { PlannedVm } from "../../../src/fleet/fleet.ts";
import type { FleetVmStatus } from "../../../src/fleet/status.ts";
import type { NbdServer } from "../../lab/nbd-server.ts";
import { LabPostgres } from "../../lab/postgres.ts";
import { type CliRun, startCli } from "../../lab/run-cli.ts";
import { type Lab, type LabOptions, startLab } from "../../lab/start-lab.ts";
import { startNbdkit } from "../../lab/targets.ts";
import type { LabVm } from "../../lab/vcenter/lab-vm.ts";
import { until } from "../../until.ts";
import { LabFleet, plan } from "../database/fleet.ts";

/** Who may have something to say when a wait was in vain. */
export interface Witness {
  readonly name: string;
  log(): string;
}

export interface Worker extends CliRun, Witness {}

export class WorkersLab implements AsyncDisposable {
  readonly lab: Lab;
  readonly server: LabPostgres;
  readonly fleet: LabFleet;
  readonly store: FleetStore;
  readonly #workers: Worker[] = [];
  readonly #stack: AsyncDisposableStack;

  private constructor(
    stack: AsyncDisposableStack,
    parts: Pick<WorkersLab, "lab" | "server" | "fleet" | "store">,
  ) {
    this.#stack = stack;
    this.lab = parts.lab;
    this.server = parts.server;
    this.fleet = parts.fleet;
    this.store = parts.store;
  }

  static async start(options: LabOptions, ttlMs: number, graceMs: number): Promise<WorkersLab> {
    await using stack = new AsyncDisposableStack();
    const lab = stack.use(await startLab({ targets: "direct", ...options }));
    const server = stack.use(await LabPostgres.start());
    const fleet = stack.use(await LabFleet.on(server));
    const store = await fleet.openNew(ttlMs, graceMs);
    return new WorkersLab(stack.move(), { lab, server, fleet, store });
  }

  /** As the plan has a machine of the lab. */
  planned(
    vm: LabVm,
    more: Partial<PlannedVm> = {},
    settings: Record<string, string> = {},
  ): PlannedVm {
    const { lab } = this;
    const targets = lab.targets.disksOf(vm).map(({ key, exportUri }) => `${key}:${exportUri}`);
    return {
      ...{ name: vm.name, endpoint: lab.vcenter.endpoint, vmPath: vm.path, wave: "1", priority: 0 },
      ...{ schedule: { kind: "every", everyMs: 3_600_000 }, syncWindows: [], cutoverWindows: [] },
      ...{ after: [], labels: [], ...more },
      settings: {
        ...{ "vmware-endpoint": lab.vcenter.endpoint, "vmware-username": lab.vcenter.username },
        ...{ "vmware-path": vm.path, "vmware-thumbprint": lab.vcenter.thumbprintSha1 },
        ...{ "nbd-targets": targets.join(","), "target-drop-time": "0s", ...settings },
      },
    };
  }

  async apply(vms: readonly PlannedVm[], hostConnections = 24): Promise<void> {
    const limits = { hostConnections, datastoreRuns: 0, targetRuns: 0 };
    await this.store.apply(plan(vms, { limits }));
  }

  start(name: string, ...extra: string[]): Worker {
    let log = "";
    const { vddk, passwordFile, dir } = this.lab;
    const run = startCli({
      args: [
        ...["fleet", "work", "--fleet-database", this.fleet.url, "--worker-name", name],
        ...["--vmware-password-file", passwordFile, "--state-dir", join(dir, `state-${name}`)],
        ...["--vddk-plugin", vddk.plugin, "--vddk-libdir", vddk.libdir, "--json", ...extra],
      ],
      onStderrLine: (line) => {
        log += `${line}\n`;
      },
    });
    const worker = { ...run, name, log: () => log };
    this.#workers.push(worker);
    return worker;
  }

  async status(vm: LabVm): Promise<FleetVmStatus> {
    const { vms } = await this.store.status({ vms: [vm.name] });
    return vms[0]!;
  }

  /** So many of its syncs went well. */
  async synced(vm: LabVm, times = 1): Promise<FleetVmStatus> {
    let last: FleetVmStatus | undefined;
    await this.until(`${vm.name} is synced ${times} times`, async () => {
      last = await this.status(vm);
      if (last.state === "failed") assert.fail(JSON.stringify(last.lastError));
      return last.syncs.filter(({ status }) => status === "completed").length >= times;
    });
    return last!;
  }

  /** A failure says what the fleet knows, and what its workers, or those that are given, said last. */
  async until(
    what: string,
    holds: () => unknown,
    witnesses: readonly Witness[] = this.#workers,
  ): Promise<void> {
    await until(what, holds).catch(async (error: unknown) => {
      const status = await this.store.status({ endings: false }).catch(String);
      const said = witnesses.map(({ name, log }) => `--- ${name}\n${lastWords(log())}`);
      throw new Error([what, JSON.stringify(status), ...said].join("\n"), { cause: error });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { child } of this.#workers) child.kill("SIGKILL");
    await Promise.all(this.#workers.map(({ result }) => result));
    await this.#stack.disposeAsync();
  }
}

const wordsKept = 40;

/** Of a log of JSON lines, short enough to be found in the output of a whole run; what nbdkit says is left out. */
function lastWords(log: string): string {
  const lines = log.split("\n").filter((line) => line && !/"msg":"nbdkit: /.test(line));
  const words = lines.slice(-wordsKept).map((line) => {
    if (!line.startsWith("{")) return line;
    const { time, msg, err } = JSON.parse(line) as Record<string, unknown>;
    return `${time} ${msg} ${err === undefined ? "" : JSON.stringify(err)}`;
  });
  return words.join("\n");
}

/** A target whose server writes down every request, and from which connection it came. */
export interface LoggedTarget extends AsyncDisposable {
  readonly server: NbdServer;
  /** Of each connection, how many writes and zeroings reached the server. */
  writes(): Map<string, number>;
  total(): number;
}

/** In place of the lab's own server for the machine's first disk; `uri` goes into its settings. */
export async function logTarget(
  file: string,
  log: string,
  ...settings: string[]
): Promise<LoggedTarget> {
  const filters = ["--filter=log", ...(settings.length > 0 ? ["--filter=delay"] : [])];
  const server = await startNbdkit([...filters, "file", file, `logfile=${log}`, ...settings]);
  const writes = () => {
    const counts = new Map<string, number>();
    for (const [, name = ""] of readFileSync(log, "utf8").matchAll(
      /connection=(\d+) (?:Write|Zero|Trim) id=/g,
    ))
      counts.set(name, (counts.get(name) ?? 0) + 1);
    return counts;
  };
  return {
    server,
    writes,
    total: () => [...writes().values()].reduce((sum, count) => sum + count, 0),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}
