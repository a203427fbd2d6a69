import { createHash, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { MigratekitError } from "../../errors.ts";
import type {
  FleetAction,
  Lease,
  LeaseWord,
  PlannedVm,
  RunOutcome,
  RunPlaces,
  StateBundle,
} from "../fleet.ts";
import type { RunProgress } from "../status.ts";
import { verdictOn } from "../verdict.ts";
import { type FleetDatabase, type Queries, queryTimeoutMs } from "./database.ts";
import type { Row } from "./row.ts";
import { checkVersion, schemaSteps } from "./schema/schema.ts";
import { cutoverFrom, nextSync, syncFrom, type Turn } from "./turns.ts";

/** Claims that get in each other's way are asked again at once; after so many the next bell has to do. */
const claimAttemptsMax = 40;
const collisionPauseMs = 10;
const missedMost = 200;
/** A state has time for 100 kB a second beyond the usual; with four busy disks it is 400 KiB. */
const bytesPerMsMin = 100;
const bundleBytesMax = 4 << 20;

interface WorkerIdentity {
  readonly name: string;
  readonly labels: readonly string[];
}

/** What `claim` of the schema answers. */
interface ClaimAnswer {
  readonly outcome: "claimed" | "none" | "again" | "missed";
  readonly vmId: number;
  readonly token: string;
  readonly nonce: string;
  readonly action: FleetAction;
  readonly entry: PlannedVm;
  readonly unclean: boolean;
  readonly ttlMs: number;
}

/**
 * What one process asks for, one claim after the other: an answer that got lost is asked for again with the
 * same nonce, and of two claims at once both would get what the first was given.
 */
export class Claims {
  readonly #queries: Queries;
  readonly #nonces = new Map<string, string>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(queries: Queries) {
    this.#queries = queries;
  }

  next(worker: WorkerIdentity): Promise<Lease | undefined> {
    const turn = this.#last.then(() => this.#next(worker));
    this.#last = turn.catch(() => {}); // told to who asked
    return turn;
  }

  async #next({ name, labels }: WorkerIdentity): Promise<Lease | undefined> {
    const nonce = this.#nonces.get(name) ?? randomUUID();
    this.#nonces.set(name, nonce);
    const lease = await this.#ask(name, labels, nonce);
    this.#nonces.delete(name);
    return lease;
  }

  async #ask(name: string, labels: readonly string[], nonce: string): Promise<Lease | undefined> {
    for (let attempt = 1; attempt <= claimAttemptsMax; attempt++) {
      const values = [name, labels, nonce, schemaSteps.length];
      const [row] = await this.#queries.query(claimSql, values);
      checkVersion(row?.number("version"));
      const answer = row!.json<ClaimAnswer>("answer");
      if (answer.outcome === "claimed") return leaseOf(answer, row!.number("host_connections"));
      if (answer.outcome === "none") return undefined;
      if (answer.outcome === "missed") await rescheduleMissed(this.#queries);
      else await sleep(Math.random() * collisionPauseMs);
    }
    return undefined;
  }
}

/** Whoever meets a schema that was upgraded since it began takes nothing any more: what is planned now may be new to it. */
const claimSql = `
  SELECT version, host_connections, CASE version WHEN $4 THEN migratekit.claim($1, $2, $3) END AS answer
  FROM migratekit.fleet`;

function leaseOf(answer: ClaimAnswer, hostConnections: number): Lease {
  return {
    vmId: answer.vmId,
    token: BigInt(answer.token),
    nonce: answer.nonce,
    action: answer.action,
    vm: answer.entry,
    takenOver: answer.unclean,
    ttlMs: answer.ttlMs,
    hostConnections,
  };
}

/** Gives VMs whose window closed before their turn a turn in the next one. */
async function rescheduleMissed(queries: Queries): Promise<void> {
  const rows = await queries.query(
    `SELECT missed.id, action, entry, until::text, clock_timestamp() AS now FROM migratekit.missed($1) missed`,
    [missedMost],
  );
  for (const row of rows) {
    const action = row.text("action") as FleetAction;
    const from = action === "cutover" ? cutoverFrom : syncFrom;
    const turn = from(row.json<PlannedVm>("entry"), row.time("now"));
    await queries.query("SELECT migratekit.reschedule($1, $2, $3, $4, $5)", [
      row.number("id"),
      action,
      row.text("until"), // a Date has no microseconds
      turn.at,
      turn.until ?? null,
    ]);
  }
}

export async function renew(
  queries: Queries,
  { vmId, token, nonce }: Lease,
  progress?: RunProgress,
): Promise<LeaseWord> {
  const [row] = await queries.query("SELECT migratekit.renew($1, $2, $3, $4) AS word", [
    ...[vmId, token, nonce],
    progress === undefined ? null : JSON.stringify(progress),
  ]);
  return row!.text("word") as LeaseWord;
}

/** @throws MigratekitError `usage` for more connections than a host may have */
export async function place(
  queries: Queries,
  { vmId, token, nonce, vm }: Lease,
  { host, units, datastores, targetServers }: RunPlaces,
): Promise<"placed" | "full" | "lost"> {
  const [row] = await queries.query(
    "SELECT migratekit.place_run($1, $2, $3, $4, $5, $6, $7) AS word",
    [vmId, token, nonce, host, units, [...new Set(datastores)], [...new Set(targetServers)]],
  );
  const word = row!.text("word");
  if (word === "too-large") {
    throw new MigratekitError(
      "usage",
      `${vm.name} needs ${units} connections to its host, more than host-connections of the plan`,
      {
        remedy:
          "Raise host-connections in the plan's fleet section, or give the VM fewer connections.",
      },
    );
  }
  return word as "placed" | "full" | "lost";
}

/** @throws MigratekitError `state-unusable` for one that is not what was pushed */
export async function pull(
  database: FleetDatabase,
  { vmId, vm }: Lease,
): Promise<StateBundle | undefined> {
  const sql = "SELECT bundle, sha256, schema_version FROM migratekit.state WHERE vm_id = $1";
  const [row] = await database.transaction(
    (queries) => queries.query(sql, [vmId]),
    queryTimeoutMs + bundleBytesMax / bytesPerMsMin,
  );
  if (row === undefined) return undefined;
  const bytes = row.bytes("bundle");
  const sha256 = row.text("sha256");
  if (createHash("sha256").update(bytes).digest("hex") !== sha256) {
    throw new MigratekitError(
      "state-unusable",
      `${vm.name}: its state in the fleet's database is damaged`,
      {
        remedy: "Restore the database from a backup, or copy the VM again with --full by hand.",
      },
    );
  }
  return { bytes, sha256, schemaVersion: row.number("schema_version") };
}

export async function push(
  database: FleetDatabase,
  { vmId, token, nonce }: Lease,
  { bytes, sha256, schemaVersion }: StateBundle,
): Promise<boolean> {
  const sql = "SELECT migratekit.push($1, $2, $3, $4, $5, $6) AS held";
  const [row] = await database.transaction(
    (queries) => queries.query(sql, [vmId, token, nonce, schemaVersion, sha256, bytes]),
    Math.ceil(queryTimeoutMs + bytes.length / bytesPerMsMin),
  );
  return row!.flag("held");
}

/** True also for one that was finished by this lease before, with an answer that got lost. */
export async function finish(
  queries: Queries,
  lease: Lease,
  outcome: RunOutcome,
): Promise<boolean> {
  for (;;) {
    const [vm] = await queries.query(
      `SELECT vm.*, clock_timestamp() AS now FROM migratekit.vm WHERE id = $1`,
      [lease.vmId],
    );
    if (vm === undefined) return false; // restored from before it was planned
    const [row] = await queries.query("SELECT migratekit.finish($1, $2, $3, $4) AS word", [
      ...[lease.vmId, lease.token, lease.nonce],
      JSON.stringify({ entryVersion: vm.number("entry_version"), ...sequel(vm, lease, outcome) }),
    ]);
    const word = row!.text("word");
    if (word !== "changed") return word !== "lost"; // else the plan was applied in between
  }
}

/** What becomes of the VM, in the columns' terms. */
function sequel(vm: Row, { action }: Lease, outcome: RunOutcome) {
  const isSync = action === "migrate";
  const [failures, cutoverFailures] = [vm.number("failures"), vm.number("cutover_failures")];
  const verdict = verdictOn(outcome, action, isSync ? failures : cutoverFailures);
  const failed = verdict.kind === "again" || verdict.kind === "operator";
  const count = (isOwn: boolean, before: number) =>
    !isOwn || verdict.kind === "keeps-turn" ? before : failed ? before + 1 : 0;
  const sync = isSync ? syncTurn(vm, verdict) : turnFrom(vm, "sync");
  const cutover = isSync ? turnFrom(vm, "cutover") : cutoverTurn(vm, verdict);
  return {
    status: outcome.status,
    exitCode: outcome.exitCode,
    error: {
      code: outcome.errorCode,
      exitCode: outcome.exitCode,
      message: outcome.message ?? `ended with exit code ${outcome.exitCode}`,
      remedy: outcome.remedy,
    },
    bytes: bytesOf(outcome.ending),
    ending: outcome.ending,
    failures: count(isSync, failures),
    cutoverFailures: count(!isSync, cutoverFailures),
    failed: verdict.kind === "operator",
    ...named("sync", sync),
    ...named("cutover", cutover),
  };
}

type SequelVerdict = ReturnType<typeof verdictOn>;

function syncTurn(vm: Row, verdict: SequelVerdict): Turn | undefined {
  const [entry, now] = [vm.json<PlannedVm>("entry"), vm.time("now")];
  if (verdict.kind === "done") return nextSync(entry, vm.time("started_at"), now);
  if (verdict.kind === "again") return syncFrom(entry, new Date(now.getTime() + verdict.afterMs));
  return turnFrom(vm, "sync");
}

function cutoverTurn(vm: Row, verdict: SequelVerdict): Turn | undefined {
  if (verdict.kind === "done") return undefined;
  if (verdict.kind !== "again") return turnFrom(vm, "cutover");
  const from = new Date(vm.time("now").getTime() + verdict.afterMs);
  return cutoverFrom(vm.json<PlannedVm>("entry"), from);
}

/** As it stands in the row. */
function turnFrom(vm: Row, what: "sync" | "cutover"): Turn | undefined {
  const at = vm.optionalTime(`${what}_at`);
  const until = vm.optionalTime(`${what}_until`);
  return at && { at, ...(until ? { until } : {}) };
}

function named(what: "sync" | "cutover", turn: Turn | undefined) {
  return { [`${what}At`]: turn?.at, [`${what}Until`]: turn?.until };
}

/** Allocated or changed, of a sync or a cutover's last one, as the commands' own documents have it. */
function bytesOf(ending: unknown): number | undefined {
  const total = fieldOf(ending, "total");
  const bytes = fieldOf(total, "planned_bytes");
  return typeof bytes === "number" && Number.isSafeInteger(bytes) ? bytes : undefined;
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null
    ? (value as Record<string, unknown>)[name]
    : undefined;
}
