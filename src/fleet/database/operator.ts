import { MigratekitError } from "../../errors.ts";
import type { PlannedVm } from "../fleet.ts";
import type { Queries } from "./database.ts";
import type { Row } from "./row.ts";
import { advisoryKey } from "./schema/schema.ts";
import { cutoverFrom, syncFrom, type Turn } from "./turns.ts";

/** Which VMs an operator speaks of: all, or those that are named, by name or path, and those of waves that are. */
export interface Selection {
  readonly all?: true;
  readonly waves?: readonly string[];
  readonly vms?: readonly string[];
}

/** What is selected, held until the transaction ends. Every word of an operator answers with names of VMs. */
interface Selected {
  readonly now: Date;
  readonly rows: readonly Row[];
  readonly ids: readonly number[];
  /** Whole waves among it. */
  readonly waves: readonly string[];
}

export async function pause(queries: Queries, what: Selection): Promise<string[]> {
  const { ids, rows, waves } = await select(queries, what);
  await setWaves(queries, waves, true);
  await queries.query("UPDATE vm SET paused = true WHERE id = ANY ($1) AND wave <> ALL ($2)", [
    ids,
    waves,
  ]);
  // A cutover that has begun is not left half done.
  await queries.query(
    "UPDATE lease SET stop = true WHERE vm_id = ANY ($1) AND action = 'migrate'",
    [ids],
  );
  return namesOf(queries, rows);
}

/** A VM that is named runs, whether or not its wave is paused. */
export async function resume(queries: Queries, what: Selection): Promise<string[]> {
  const { ids, rows, waves } = await select(queries, what);
  await setWaves(queries, waves, false);
  // Who was paused by name stays so when its wave goes on.
  const named = what.all ? rows : rows.filter((row) => !waves.includes(row.text("wave")));
  await queries.query("UPDATE vm SET paused = false, wave_paused = false WHERE id = ANY ($1)", [
    named.map((row) => row.number("id")),
  ]);
  await queries.query(
    `UPDATE lease SET stop = false FROM vm
      WHERE vm.id = vm_id AND vm_id = ANY ($1) AND NOT vm.paused`,
    [ids],
  );
  return namesOf(queries, rows);
}

/** Those that failed, be it for good or with a pause before the next try. */
export async function retryFailed(queries: Queries, what: Selection): Promise<string[]> {
  const { now, rows } = await select(queries, what);
  const failing = rows.filter(
    (row) =>
      !row.flag("leased") &&
      (row.flag("failed") || row.number("failures") + row.number("cutover_failures") > 0),
  );
  for (const row of failing) {
    const entry = row.json<PlannedVm>("entry");
    const isDue = row.number("failures") > 0 || row.optionalTime("sync_at") !== undefined;
    const sync = isDue ? syncFrom(entry, now) : undefined;
    const asked = row.optionalTime("cutover_asked_at") !== undefined;
    const cutover = asked ? cutoverFrom(entry, now) : undefined;
    await queries.query(
      `UPDATE vm SET failed = false, failures = 0, cutover_failures = 0,
        sync_at = $2, sync_until = $3, cutover_at = $4, cutover_until = $5 WHERE id = $1`,
      [row.number("id"), ...columnsOf(sync), ...columnsOf(cutover)],
    );
  }
  return namesOf(queries, failing);
}

/** Those that were not asked before; one that was cut over stays so. */
export async function askCutover(queries: Queries, what: Selection): Promise<string[]> {
  const { now, rows } = await select(queries, what);
  const asked = rows.filter((row) => row.optionalTime("cutover_asked_at") === undefined);
  for (const row of asked) {
    await queries.query(
      `UPDATE vm SET cutover_asked_at = $2, cutover_at = $3, cutover_until = $4, cutover_failures = 0,
        cutover_ready = may_cut_over(after_names) WHERE id = $1`,
      [row.number("id"), now, ...columnsOf(cutoverFrom(row.json<PlannedVm>("entry"), now))],
    );
  }
  return namesOf(queries, asked);
}

/** Where it has not begun. */
export async function cancelCutover(queries: Queries, what: Selection): Promise<string[]> {
  const { ids } = await select(queries, what);
  const rows = await queries.query(
    `UPDATE vm SET cutover_asked_at = NULL, cutover_ready = false, cutover_at = NULL, cutover_until = NULL
      WHERE id = ANY ($1) AND cutover_asked_at IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM lease WHERE vm_id = vm.id AND action = 'cutover') RETURNING name`,
    [ids],
  );
  return namesOf(queries, rows);
}

/** For leases that have ended without their worker. */
export async function confirmTakeover(queries: Queries, what: Selection): Promise<string[]> {
  const { ids } = await select(queries, what);
  const rows = await queries.query(
    `UPDATE vm SET word_for_token = lease.token FROM lease
      WHERE lease.vm_id = vm.id AND vm.id = ANY ($1) AND lease.expires_at < clock_timestamp()
      RETURNING vm.name`,
    [ids],
  );
  return namesOf(queries, rows);
}

/** @throws MigratekitError `usage` naming what the plan does not have */
async function select(
  queries: Queries,
  { all, waves = [], vms = [] }: Selection,
): Promise<Selected> {
  await queries.query("SELECT pg_advisory_xact_lock($1)", [advisoryKey]);
  await queries.query("SET LOCAL search_path = migratekit, pg_temp");
  const rows = await queries.query(
    `SELECT id, name, vm_path, wave, entry, leased, failed, failures, cutover_failures, sync_at, cutover_asked_at,
        cut_over_at FROM vm
      WHERE released_at IS NULL AND ($1 OR wave = ANY ($2) OR name = ANY ($3) OR vm_path = ANY ($3))
      ORDER BY id FOR UPDATE`,
    [all === true, waves, vms],
  );
  const has = (column: string, text: string) => rows.some((row) => row.text(column) === text);
  const missing = [
    ...waves.filter((wave) => !has("wave", wave)).map((wave) => `wave ${wave}`),
    ...vms.filter((vm) => !has("name", vm) && !has("vm_path", vm)),
  ];
  if (missing.length > 0) {
    throw new MigratekitError("usage", `The fleet's plan has no ${missing.join(", no ")}`, {
      remedy: "'migratekit fleet status' lists the waves and VMs that it has.",
    });
  }
  const living = rows.filter((row) => row.optionalTime("cut_over_at") === undefined);
  const [clock] = await queries.query("SELECT clock_timestamp() AS now");
  return {
    now: clock!.time("now"),
    rows: living,
    ids: living.map((row) => row.number("id")),
    waves: all ? [...new Set(rows.map((row) => row.text("wave")))] : waves,
  };
}

/** VMs that come to a wave later are as it is. */
async function setWaves(queries: Queries, waves: readonly string[], paused: boolean) {
  await queries.query("UPDATE wave SET paused = $2 WHERE name = ANY ($1)", [waves, paused]);
  await queries.query(
    "UPDATE vm SET wave_paused = $2 WHERE wave = ANY ($1) AND wave_paused <> $2",
    [waves, paused],
  );
}

function columnsOf(turn: Turn | undefined): [Date | null, Date | null] {
  return [turn?.at ?? null, turn?.until ?? null];
}

/** In the order of their names; rings the bell for them. */
async function namesOf(queries: Queries, rows: readonly Row[]): Promise<string[]> {
  if (rows.length > 0) await queries.query("SELECT pg_notify('migratekit_fleet', '')");
  return rows.map((row) => row.text("name")).sort();
}
