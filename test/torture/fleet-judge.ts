// Whether a tortured fleet kept what it promises, by those who have no part in it: the logs of the targets' NBD
// servers, what the hosts' port counted, the files, and the rows that the database has of who had which VM when.

import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import type { FleetSite } from "../lab/fleet-site.ts";
import { type Crew, exportOf, type Hand } from "./fleet-crew.ts";

/** A write or a zeroing, ms since 1970. */
interface Write {
  readonly worker: string;
  readonly connection: string;
  readonly exportName: string;
  readonly beganMs: number;
  endedMs: number;
}

/** When a worker had a VM. */
export interface Ownership {
  readonly token: number;
  readonly vm: string;
  readonly worker: string;
  readonly startedMs: number;
  /** Infinity: it has it still. */
  readonly endedMs: number;
  readonly status: string | null;
  readonly errorCode: string | null;
  readonly exitCode: number | null;
  readonly host: string;
  readonly units: number;
}

export class Judge {
  /** Writes that were looked at. */
  writeCount = 0;
  readonly #site: FleetSite;
  readonly #crew: Crew;
  readonly #logs = new WeakMap<Hand, ServerLog>();
  /** By their tokens: of a VM the database keeps the newest fifty runs alone, and a round may have more. */
  readonly #owned = new Map<number, Ownership>();

  constructor(site: FleetSite, crew: Crew) {
    this.#site = site;
    this.#crew = crew;
  }

  /** Of runs that began or ended after that time, also of those that were seen at an earlier call. */
  async ownerships(sinceMs = 0): Promise<Ownership[]> {
    const text = await this.#site.postgres.psql(
      "fleet",
      `SELECT coalesce(json_agg(json_build_object('token', run.token, 'vm', vm.name, 'worker', run.worker,
        'startedMs', extract(epoch FROM run.started_at) * 1000, 'endedMs', extract(epoch FROM run.ended_at) * 1000,
        'status', run.status, 'errorCode', run.error_code, 'exitCode', run.exit_code,
        'host', coalesce(place.name, ''), 'units', vm.units)), '[]')
      FROM migratekit.run JOIN migratekit.vm ON vm.id = run.vm_id JOIN migratekit.line ON line.id = vm.line_id
        LEFT JOIN migratekit.place ON place.id = line.host_id
      WHERE run.ended_at IS NULL OR run.ended_at > to_timestamp(${sinceMs} / 1000.0)`,
    );
    const rows = JSON.parse(text) as (Omit<Ownership, "endedMs"> & { endedMs: number | null })[];
    for (const row of rows) {
      this.#owned.set(row.token, { ...row, endedMs: row.endedMs ?? Number.POSITIVE_INFINITY });
    }
    const owned = [...this.#owned.values()].sort((a, b) => a.startedMs - b.startedMs);
    return owned.filter(({ endedMs }) => endedMs > sinceMs);
  }

  /** To be asked once for each round, while nobody writes. @throws for the first violation */
  checkWrites(owned: readonly Ownership[]): void {
    const writes = this.#crew.hands.flatMap((hand) => this.#logOf(hand).read());
    this.writeCount += writes.length;
    const known = new Map(this.#site.machines.map((vm) => [exportOf(this.#site, vm), vm.name]));
    const stray = writes.find(({ exportName }) => !known.has(exportName));
    if (stray !== undefined) throw new Error(`a write to no target: ${JSON.stringify(stray)}`);
    for (const [exportName, vm] of known) {
      const own = writes.filter((write) => write.exportName === exportName);
      checkTurns(vm, own);
      checkOwners(
        vm,
        own,
        owned.filter((one) => one.vm === vm),
      );
    }
  }

  #logOf(hand: Hand): ServerLog {
    const log = this.#logs.get(hand) ?? new ServerLog(hand);
    this.#logs.set(hand, log);
    return log;
  }

  /**
   * The hosts' port against the plan. Connections that a living worker keeps open without a lease, as it stood
   * still or heard nothing until another took over, are nobody's to close: they come on top.
   */
  checkConnections(limit: number, owned: readonly Ownership[]): void {
    const lived = (one: Ownership) =>
      this.#crew.hands.some(
        ({ worker, killedAtMs }) =>
          worker.name === one.worker && (killedAtMs === undefined || killedAtMs > one.endedMs),
      );
    const orphaned = owned
      .filter((one) => one.status === "lost" && lived(one))
      .reduce((sum, { units }) => sum + units, 0);
    for (const [host, peak] of this.#site.peaks) {
      if (peak > limit + orphaned)
        throw new Error(
          `${peak} connections to ${host} at once; ${limit} are allowed, ${orphaned} were orphaned`,
        );
    }
  }
}

/** By the servers alone: nobody writes with a connection that others' writes came between. */
function checkTurns(vm: string, writes: readonly Write[]): void {
  const spans = new Map<string, { worker: string; connection: string; from: number; to: number }>();
  for (const { worker, connection, beganMs, endedMs } of writes) {
    const span = spans.get(`${worker} ${connection}`);
    if (span === undefined)
      spans.set(`${worker} ${connection}`, { worker, connection, from: beganMs, to: endedMs });
    else span.to = Math.max(span.to, endedMs);
  }
  const ordered = [...spans.values()].sort((a, b) => a.from - b.from);
  for (const [index, span] of ordered.entries()) {
    const other = ordered
      .slice(index + 1)
      .find(({ worker, from }) => worker !== span.worker && from < span.to);
    if (other !== undefined)
      throw new Error(
        `two writers at the target of ${vm}: ${span.worker} until ${timeOf(span.to)} by connection ` +
          `${span.connection}, ${other.worker} from ${timeOf(other.from)} on by ${other.connection}`,
      );
  }
}

/** Every write falls into a time in which its worker had the VM. */
function checkOwners(vm: string, writes: readonly Write[], owned: readonly Ownership[]): void {
  for (const { worker, beganMs, connection } of writes) {
    const isOwn = owned.some(
      (one) => one.worker === worker && one.startedMs <= beganMs && beganMs <= one.endedMs,
    );
    if (!isOwn)
      throw new Error(
        `${worker} wrote to the target of ${vm} at ${timeOf(beganMs)} by connection ${connection} without ` +
          `having the VM: ${JSON.stringify(owned.slice(-6))}`,
      );
  }
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}

/** What nbdkit's log filter wrote since it was read last. */
class ServerLog {
  readonly #hand: Hand;
  readonly #exports = new Map<string, string>();
  readonly #open = new Map<string, Write>();
  #position = 0;
  #rest = "";

  constructor(hand: Hand) {
    this.#hand = hand;
  }

  read(): Write[] {
    const writes: Write[] = [];
    const lines = (this.#rest + this.#more()).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      const [, date, time, connection, what = ""] =
        /^(\S+) (\S+) connection=(\d+) (.*)$/.exec(line) ?? [];
      if (connection === undefined) continue;
      const atMs = Date.parse(`${date}T${time!.slice(0, 12)}Z`) + Number(time!.slice(12)) / 1000;
      const name = /^Connect export=(\S+)/.exec(what)?.[1];
      if (name !== undefined) this.#exports.set(connection, name.replaceAll(/['"]/g, ""));
      const [, ends, id] = /^(\.\.\.)?(?:Write|Zero|Trim) id=(\d+)/.exec(what) ?? [];
      if (id === undefined) continue;
      const key = `${connection} ${id}`;
      if (ends) {
        const write = this.#open.get(key);
        if (write) write.endedMs = atMs;
        this.#open.delete(key);
        continue;
      }
      const exportName = this.#exports.get(connection) ?? "";
      const worker = this.#hand.worker.name;
      const write = { worker, connection, exportName, beganMs: atMs, endedMs: atMs };
      this.#open.set(key, write);
      writes.push(write);
    }
    return writes;
  }

  #more(): string {
    const file = openSync(this.#hand.logFile, "r");
    try {
      const bytes = Buffer.alloc(fstatSync(file).size - this.#position);
      this.#position += readSync(file, bytes, 0, bytes.length, this.#position);
      return bytes.toString();
    } finally {
      closeSync(file);
    }
  }
}
