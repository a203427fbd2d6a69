// A fleet at work while its workers die, stand still, lose the database or their clocks, while the database
// itself dies, plans are applied and workers are replaced. After every round all is calm once more, and
// then each VM must have been synced, byte for byte, by one writer at a time.
//
//   npm run test:torture:fleet -- --seed 1 --rounds 200

import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { FleetSite } from "../lab/fleet-site.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { Random } from "../random.ts";
import { until } from "../until.ts";
import { Crew, targetUri } from "./fleet-crew.ts";
import {
  chooseFaults,
  type Dice,
  lasting,
  type Struck,
  strike,
  throwDice,
} from "./fleet-faults.ts";
import { Judge } from "./fleet-judge.ts";

const mebibyte = 1 << 20;
const key = 2000;
const hosts = ["esx1", "esx2"];
/** Of each VM, by its number. */
const sourceConnections = [2, 1, 1];
/** Not shorter than a worker's looks for work are apart, twice. */
const leaseMs = 4200;
const graceMs = 1500;
const tooLongMs = leaseMs + graceMs + 1000;
/** A VM that was not synced by then, with nothing in its way, is starved. */
const calmLimitMs = 180_000;
const retryEveryMs = 1500;

/** Exit codes of `fleet apply`: it went well, or the database was away. */
const applyEndings = [0, 11];

export interface FleetTortureOptions {
  seed: number;
  rounds: number;
  /** VMs, on two hosts. [6] */
  machines?: number;
  log?: (line: string) => void;
}

export interface FleetTortureReport {
  rounds: number;
  /** Runs by how they ended; those that failed by their error's code. */
  endings: Record<string, number>;
  /** What was done to the fleet. */
  strikes: Record<string, number>;
  /** Writes to targets that were looked at. */
  writes: number;
}

interface World {
  readonly site: FleetSite;
  readonly crew: Crew;
  readonly judge: Judge;
  readonly random: Random;
  readonly report: FleetTortureReport;
  readonly hostConnections: number;
}

/** @throws at the first violation, naming seed and round */
export async function tortureFleet(options: FleetTortureOptions): Promise<FleetTortureReport> {
  const report: FleetTortureReport = { rounds: 0, endings: {}, strikes: {}, writes: 0 };
  const random = new Random(options.seed);
  const { machines = 6 } = options;
  // Less than the VMs of one host would open together.
  const hostConnections = machines / hosts.length;
  await using site = await FleetSite.start({
    ...{ hosts, hostConnections, targetDropTime: "1s" },
    ...{ leaseTime: `${leaseMs}ms`, takeoverGrace: `${graceMs}ms` },
    machines: Array.from({ length: machines }, (_, index) => ({
      name: `vm-${index + 1}`,
      host: hosts[index % hosts.length]!,
      disks: [
        {
          capacityBytes: 2 * mebibyte + index * 262_144 + 512,
          fill: { seed: index, dataRatio: 0.7, zeroRatio: 0.1 },
        },
      ],
    })),
  });
  await using crew = new Crew(site);
  const judge = new Judge(site, crew);
  const world = { site, crew, judge, random, report, hostConnections };
  await site.init();
  await site.lab.vddk.setFaults({ delay_us: 40_000 });
  for (let round = 1; round <= options.rounds; round++) {
    try {
      await playRound(world);
    } catch (error) {
      const text = `seed ${options.seed}, round ${round}: ${(error as Error).message}`;
      throw new Error(`${text}\n${site.logs().slice(-20_000)}`, { cause: error });
    }
    report.rounds = round;
    report.writes = world.judge.writeCount;
    options.log?.(`${round} rounds: ${JSON.stringify(report)}`);
  }
  return report;
}

/** Faults beside each other while all VMs are due all the time; then calm, and the verdict. */
async function playRound(world: World): Promise<void> {
  const { site, crew, judge, random, report } = world;
  site.lab.nfc.forgetPeak();
  const sinceMs = Date.now();
  while (crew.working.length < 2 + random.below(2)) await crew.hire();
  await writeAsGuests(world);
  const faults = chooseFaults(random).map((name) => ({ name, dice: throwDice(random, tooLongMs) }));
  // So that what is done to the fleet meets copies under way; and these are under way still when it is over.
  const isLong = faults.some(({ name, dice }) => dice.long && lasting.has(name));
  const slow = site.machines.filter(() => random.below(2) === 0);
  await applyWhole(world, (vm) => ({
    every: "2s",
    ...(slow.includes(vm) && { full: "true", "max-rate": isLong ? "256K" : "1M" }),
  }));
  const struck: Struck = {
    ...{ site, crew, tooLongMs },
    applyTwo: (dice) => applyTwo(world, dice),
  };
  const over = new AbortController();
  const guests = writeUntil(world, new Random(random.below(1 << 30)), over.signal);
  await Promise.all(
    faults.map(async ({ name, dice }) => {
      const done = await strike(struck, name, dice);
      const way = dice.long && lasting.has(name) ? `${name} beyond the lease` : name;
      if (done) report.strikes[way] = (report.strikes[way] ?? 0) + 1;
    }),
  );
  over.abort();
  await guests;
  await calmDown(world, sinceMs);
  const owned = await judge.ownerships(sinceMs);
  for (const { status, errorCode, exitCode, vm } of owned) {
    const ending = status === "failed" ? `${errorCode ?? exitCode}` : `${status}`;
    report.endings[ending] = (report.endings[ending] ?? 0) + 1;
    if (status === "failed" && exitCode === 1) throw new Error(`a bug ended a run of ${vm}`);
  }
  judge.checkWrites(owned);
  judge.checkConnections(world.hostConnections, owned);
  await checkWhole(world);
  await crew.bury();
}

async function writeAsGuests({ site, random }: World): Promise<void> {
  for (const vm of site.machines) {
    await vm.randomWrites(key, { seed: random.below(1 << 30), writes: random.below(8) });
  }
}

/** Now this one, now that one, whatever is being done to the fleet. */
async function writeUntil({ site }: World, random: Random, over: AbortSignal): Promise<void> {
  while (!over.aborted) {
    const vm = random.pick(site.machines);
    await vm.randomWrites(key, { seed: random.below(1 << 30), writes: 1 + random.below(4) });
    await sleep(random.below(500));
  }
}

type Fields = (vm: LabVm) => Record<string, string | number>;

async function applyWhole(world: World, fields: Fields): Promise<void> {
  const { code, stderr } = await apply(world, world.site.machines, fields, "whole");
  if (code !== 0) throw new Error(`the plan was not applied: ${stderr}`);
}

async function apply(world: World, vms: readonly LabVm[], fields: Fields, name: string) {
  const { site } = world;
  const all: Fields = (vm) => {
    const number = site.machines.indexOf(vm);
    return {
      "nbd-targets": `${key}:${targetUri(site, vm)}`,
      "source-connections": sourceConnections[number % sourceConnections.length]!,
      ...fields(vm),
    };
  };
  const file = await site.writePlan(all, vms, `${site.planFile}.${name}`);
  return await site.fleet("apply", file);
}

/** Each takes another VM out. The one that came last holds, whole; both may meet a database that is away. */
async function applyTwo(world: World, { number }: Dice): Promise<void> {
  const { site } = world;
  const plans = [1, 2].map((priority) => ({
    priority,
    vms: site.machines.filter((_, index) => index !== (number + priority) % site.machines.length),
  }));
  const results = await Promise.all(
    plans.map(({ priority, vms }) =>
      apply(world, vms, () => ({ every: "1s", priority }), `priority-${priority}`),
    ),
  );
  const wrong = results.find(({ code }) => !applyEndings.includes(code!));
  if (wrong !== undefined) throw new Error(`one of two plans: ${wrong.code} ${wrong.stderr}`);
  if (results.some(({ code }) => code !== 0)) return;
  await until("the plan that holds is seen", async () => {
    const rows = await ask(
      world,
      "SELECT name || ' ' || priority FROM migratekit.vm WHERE released_at IS NULL ORDER BY 1",
    ).catch(() => undefined); // the database is away
    if (rows === undefined) return false;
    const whole = plans.map(({ priority, vms }) =>
      vms.map(({ name }) => `${name} ${priority}`).join("\n"),
    );
    if (!whole.includes(rows)) throw new Error(`of two plans a mixture holds: ${rows}`);
    return true;
  });
}

/** With all faults undone every VM is synced once more, and then nothing is to be done. */
async function calmDown(world: World, sinceMs: number): Promise<void> {
  const { site, crew } = world;
  for (const hand of crew.working) crew.setClock(hand, 0);
  while (crew.working.length < 2) await crew.hire();
  await writeAsGuests(world);
  // First copies let those in sync pass, for an hour, and where a sync takes longer than they are apart there is always
  // one: then these leave room.
  const fresh = Number(await ask(world, "SELECT count(*) FROM migratekit.vm WHERE fresh"));
  await applyWhole(world, () => ({ every: fresh > 0 ? "20s" : "2s" }));
  const now = await ask(world, "SELECT clock_timestamp()");
  const synced = `SELECT count(DISTINCT vm_id) FROM migratekit.run WHERE status = 'completed' AND started_at > '${now}'`;
  await settle(
    world,
    sinceMs,
    "every VM is synced once more",
    async () => Number(await ask(world, synced)) === site.machines.length,
  );
  await applyWhole(world, () => ({ every: "24h" }));
  await settle(world, sinceMs, "nothing is left to do", async () => {
    const left = await ask(
      world,
      `SELECT (SELECT count(*) FROM migratekit.lease) + (SELECT count(*) FROM migratekit.vm WHERE failures > 0
        OR 'completed' IS DISTINCT FROM (SELECT status FROM migratekit.run WHERE vm_id = vm.id ORDER BY token DESC LIMIT 1)
        OR next_at < clock_timestamp())`,
    );
    return left === "0";
  });
  for (const vm of site.machines) {
    const difference = await site.difference(vm);
    if (difference !== undefined) throw new Error(`${vm.name} is wrong: ${difference}`);
    if (vm.snapshots.length > 0) throw new Error(`${vm.name} has a snapshot left`);
  }
}

/** Who failed for a reason that passes is tried again at once, as an operator may ask; nothing else helps. */
async function settle(
  world: World,
  sinceMs: number,
  what: string,
  holds: () => Promise<boolean>,
): Promise<void> {
  const { site, judge } = world;
  let retriedAt = performance.now();
  await until(
    what,
    async () => {
      if (await holds()) return true;
      const failed = await ask(world, "SELECT last_error FROM migratekit.vm WHERE failed LIMIT 1");
      if (failed !== "") throw new Error(`it was left to an operator: ${failed}`);
      if (performance.now() - retriedAt > retryEveryMs) {
        await judge.ownerships(sinceMs);
        const failing = "SELECT count(*) FROM migratekit.vm WHERE failures > 0 AND NOT leased";
        if ((await ask(world, failing)) !== "0") await site.succeed("retry", "--all");
        retriedAt = performance.now();
      }
      return false;
    },
    calmLimitMs,
  ).catch(async (error: unknown) => {
    const rows = await ask(world, "SELECT row_to_json(vm) FROM migratekit.vm").catch(String);
    throw new Error(`${(error as Error).message}\n${rows}`, { cause: error });
  });
}

async function checkWhole(world: World): Promise<void> {
  const used = await ask(world, "SELECT name, used FROM migratekit.place WHERE used <> 0");
  if (used !== "") throw new Error(`a budget is not empty while nothing runs: ${used}`);
  const { vms } = await world.site.overview();
  const names = vms.map(({ name }) => name).sort();
  const wanted = world.site.machines.map(({ name }) => name).sort();
  if (names.join() !== wanted.join()) throw new Error(`a VM is lost: status has ${names.join()}`);
}

async function ask({ site }: World, sql: string): Promise<string> {
  return await site.postgres.psql("fleet", sql);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: "1" },
      rounds: { type: "string", default: "20" },
    },
  });
  const report = await tortureFleet({
    seed: Number(values.seed),
    rounds: Number(values.rounds),
    log: (line) => console.log(line),
  });
  console.log(JSON.stringify(report, null, 2));
}
