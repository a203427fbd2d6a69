import { createHash } from "node:crypto";
import { FleetStore } from "../../../src/fleet/database/store.ts";
import type { FleetPlan, PlannedVm, RunOutcome, StateBundle } from "../../../src/fleet/fleet.ts";
import { createLogger } from "../../../src/logger.ts";
import type { LabPostgres } from "../../lab/postgres.ts";

let count = 0;
const silent = createLogger({ level: "silent", pretty: false });

/** A database of its own on a server that several may share; stores that were opened are closed with it. */
export class LabFleet implements AsyncDisposable {
  readonly server: LabPostgres;
  readonly name: string;
  readonly #stores: FleetStore[] = [];

  private constructor(server: LabPostgres, name: string) {
    this.server = server;
    this.name = name;
  }

  static async on(server: LabPostgres): Promise<LabFleet> {
    const name = `fleet${++count}`;
    await server.createDatabase(name);
    return new LabFleet(server, name);
  }

  get url(): string {
    return this.server.url(this.name, this.name);
  }

  async open(url = this.url): Promise<FleetStore> {
    const store = await FleetStore.open(url, undefined, silent, { application: "test" });
    this.#stores.push(store);
    return store;
  }

  /** With leases that live for so long, and so long a wait after that. */
  async openNew(ttlMs = 120_000, graceMs = 60_000): Promise<FleetStore> {
    const store = await this.open();
    await store.init({ ttlMs, graceMs });
    return store;
  }

  /** Statements as the owner, past the store: what an observer sees, or what time does. */
  sql(statements: string): Promise<string> {
    return this.server.psql(this.name, `SET search_path = migratekit; ${statements}`, this.name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#stores.map((store) => store[Symbol.asyncDispose]()));
  }
}

export function vm(name: string, more: Partial<PlannedVm> = {}): PlannedVm {
  return {
    name,
    endpoint: "vc.example:443",
    vmPath: `/DC/vm/${name}`,
    wave: "1",
    priority: 0,
    schedule: { kind: "every", everyMs: 900_000 },
    syncWindows: [],
    cutoverWindows: [],
    after: [],
    labels: [],
    settings: { "vmware-endpoint": "vc.example" },
    ...more,
  };
}

export function plan(vms: readonly PlannedVm[], more: Partial<FleetPlan> = {}): FleetPlan {
  const limits = { hostConnections: 24, datastoreRuns: 0, targetRuns: 0 };
  return { limits, targetDropMs: 0, vms, ...more };
}

export const completed: RunOutcome = {
  status: "completed",
  exitCode: 0,
  ending: { total: { planned_bytes: 4096 } },
};
export const interrupted: RunOutcome = { status: "interrupted", exitCode: 143 };

export function failed(errorCode: string, exitCode = 3): RunOutcome {
  return {
    status: "failed",
    exitCode,
    errorCode,
    message: `it was ${errorCode}`,
    remedy: "mend it",
  };
}

export const alice = { name: "alice", labels: [] };
export const bob = { name: "bob", labels: [] };

/** On host `id`, with so many connections. */
export function at(
  id: string,
  units: number,
  more: { datastores?: string[]; targetServers?: string[] } = {},
) {
  return { host: `vc.example:443 ${id}`, units, datastores: [], targetServers: [], ...more };
}

export function bundle(text: string): StateBundle {
  const bytes = Buffer.from(text);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  return { bytes, sha256, schemaVersion: 7 };
}
