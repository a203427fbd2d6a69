// Kills everything at random moments, again and again, and looks after every completed cycle
// whether all that migratekit promises still holds.
//
//   npm run test:torture -- --seed 1 --rounds 300

import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { StateDatabase } from "../../src/state/database/database.ts";
import { JournalStore } from "../../src/state/journal.ts";
import { compareFiles } from "../lab/compare.ts";
import type { NbdServer } from "../lab/nbd-server.ts";
import { processesNaming } from "../lab/process-table.ts";
import { type CliResult, startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import { createVolume, startNbdkitTarget, startNbdServer } from "../lab/targets.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { Random } from "../random.ts";
import { killNbdkitBelow } from "./victims.ts";

const mebibyte = 1 << 20;
const outageMs = 700;
/** Of the slow disk behind the cache: 7 MiB take four seconds. */
const drainBitsPerSecond = 16_000_000;

const victims = [
  "nobody",
  "migratekit",
  "migratekit",
  "migratekit",
  "nbdkit",
  "target",
  "tunnel",
  "vcenter",
  "session",
] as const;
type Victim = (typeof victims)[number];

/** Targets that no run may believe, and the exit code of those who are sent there. */
const strangeTargets = { "another VM's": 7, "without flush": 5, forgetful: 5 } as const;
type StrangeTarget = keyof typeof strangeTargets;

export interface TortureOptions {
  seed: number;
  rounds: number;
  log?: (line: string) => void;
}

export interface TortureReport {
  rounds: number;
  completed: number;
  full: number;
  incremental: number;
  resumed: number;
  kills: Record<string, number>;
  /** Endings of runs that did not complete, by exit code or signal. */
  endings: Record<string, number>;
}

/** One VM and where its disks go. */
interface Subject {
  vm: LabVm;
  targets: { key: number; uri: string; file: string; capacityBytes: number }[];
  /** What dies as the "target". */
  servers: NbdServer[];
  /** Flags of every run. */
  extra: readonly string[];
  stateDir: string;
  tempDir: string;
}

/** @throws at the first violation, naming seed and round */
export async function torture(options: TortureOptions): Promise<TortureReport> {
  const random = new Random(options.seed);
  const report: TortureReport = {
    rounds: 0,
    completed: 0,
    full: 0,
    incremental: 0,
    resumed: 0,
    kills: {},
    endings: {},
  };
  await using lab = await startLab({
    vms: [
      { name: "tunnelled", disks: [disk(12 * mebibyte + 512, 1), disk(5 * mebibyte, 2)] },
      { name: "cached", disks: [disk(9 * mebibyte + 1536, 3)] },
      { name: "draining", disks: [disk(7 * mebibyte + 512, 4)] },
    ],
  });
  await using stack = new AsyncDisposableStack();
  const subjects = [tunnelled(lab), await cached(lab, stack), await draining(lab, stack)];
  const strange = await strangeServers(lab, subjects, stack);
  await lab.vddk.setFaults({ delay_us: 30_000 });

  for (let round = 1; round <= options.rounds; round++) {
    const subject = subjects[random.below(subjects.length)]!;
    try {
      const other = random.pick(subjects.filter((candidate) => candidate !== subject));
      const last = round === options.rounds;
      if (!last && random.below(8) === 0) {
        await playStrangeRound(lab, subject, other, strange(subject, other), random, report);
      } else {
        await playRound(lab, subject, random, report, last);
      }
    } catch (error) {
      throw new Error(`seed ${options.seed}, round ${round}: ${(error as Error).message}`, {
        cause: error,
      });
    }
    report.rounds = round;
    if (round % 10 === 0) options.log?.(`${round} rounds, ${report.completed} completed`);
  }
  for (const subject of subjects) {
    const run = await startRun(lab, subject, []).result;
    if (run.code !== 0) throw new Error(`the last cycle failed: ${run.stderr}`);
    await checkCompleted(lab, subject, run, report);
  }
  return report;
}

function disk(capacityBytes: number, seed: number) {
  return { capacityBytes, fill: { seed, dataRatio: 0.6, zeroRatio: 0.1 } };
}

/** Behind the tunnel, as on the appliance. */
function tunnelled(lab: Lab): Subject {
  const vm = lab.vm("tunnelled");
  const targets = lab.targets.disksOf(vm).map(({ key, exportUri, targetFile, capacityBytes }) => ({
    key,
    uri: exportUri,
    file: targetFile,
    capacityBytes,
  }));
  return { vm, targets, servers: [...lab.targets.servers], extra: [], ...foldersOf(lab, vm) };
}

/** A server that holds writes back until they are flushed: what was not flushed dies with it. */
function cached(lab: Lab, stack: AsyncDisposableStack): Promise<Subject> {
  return writtenBack(lab, stack, "cached", { filters: ["cache"], settings: [] });
}

/**
 * The same before a disk that is slower than the cache: a flush of what a copy sends here takes several
 * times the limit that a single request has.
 */
async function draining(lab: Lab, stack: AsyncDisposableStack): Promise<Subject> {
  const settings = [`rate=${drainBitsPerSecond}`];
  const subject = await writtenBack(lab, stack, "draining", {
    filters: ["cache", "rate"],
    settings,
  });
  return { ...subject, extra: ["--stall-timeout", "1s", "--flush-timeout", "2s"] };
}

async function writtenBack(
  lab: Lab,
  stack: AsyncDisposableStack,
  name: string,
  { filters, settings }: { filters: string[]; settings: string[] },
): Promise<Subject> {
  const vm = lab.vm(name);
  const targets = [];
  const servers = [];
  for (const { record } of vm.disks) {
    const file = join(lab.dir, "targets", `${name}-${record.key}-slow.raw`);
    await createVolume(file, record.capacityBytes);
    const server = await startNbdkitTarget({
      ...{ file, filters },
      settings: ["cache=writeback", ...settings],
    });
    stack.use(server);
    servers.push(server);
    const { key, capacityBytes } = record;
    targets.push({ key, uri: server.uri, file, capacityBytes });
  }
  return { vm, targets, servers, extra: [], ...foldersOf(lab, vm) };
}

/**
 * Where the first disk of a subject may be sent by mistake: a volume of its own at servers that may not
 * be believed, or another's.
 */
async function strangeServers(
  lab: Lab,
  subjects: readonly Subject[],
  stack: AsyncDisposableStack,
): Promise<(subject: Subject, other: Subject) => Record<StrangeTarget, string>> {
  const serve = async (folderName: string, settings: Record<string, string>) => {
    const folder = join(lab.dir, "targets", folderName);
    const exports = subjects.map(({ vm: { name } }) => ({
      ...{ name, settings },
      file: join(folder, `${name}.raw`),
    }));
    // copyonwrite wants whole blocks of 4 KiB
    for (const { file } of exports) await createVolume(file, 16 * mebibyte);
    return stack.use(await startNbdServer({ exports, folder }));
  };
  const noFlush = await serve("noflush", { flush: "false", fua: "false" });
  const forgetful = await serve("forgetful", { copyonwrite: "true" });
  return (subject, other) => ({
    "another VM's": other.targets[0]!.uri,
    "without flush": noFlush.uriOf(subject.vm.name),
    forgetful: forgetful.uriOf(subject.vm.name),
  });
}

/** A run that is sent to a target which it may not believe, and that must say so. */
async function playStrangeRound(
  lab: Lab,
  subject: Subject,
  other: Subject,
  uris: Record<StrangeTarget, string>,
  random: Random,
  report: TortureReport,
): Promise<void> {
  const kind = random.pick(Object.keys(strangeTargets) as StrangeTarget[]);
  // What belongs to nobody yet may be anybody's, and what is too small is told as that.
  const fits = other.targets[0]!.capacityBytes >= subject.targets[0]!.capacityBytes;
  if (kind === "another VM's" && (report.completed < 10 || !fits)) return;
  const [first, ...rest] = subject.targets;
  const sent = { ...subject, targets: [{ ...first!, uri: uris[kind] }, ...rest] };
  const run = await startRun(lab, sent, ["--on-target-mismatch", "full"]).result;
  report.kills[kind] = (report.kills[kind] ?? 0) + 1;
  if (run.code !== strangeTargets[kind]) {
    throw new Error(`a target ${kind} ended with ${run.signal ?? run.code}: ${run.stderr}`);
  }
}

function foldersOf(lab: Lab, vm: LabVm) {
  const tempDir = join(lab.dir, `tmp-${vm.name}`);
  mkdirSync(tempDir, { recursive: true });
  return { stateDir: lab.stateDir, tempDir };
}

function startRun(lab: Lab, { vm, targets, tempDir, ...subject }: Subject, more: string[]) {
  const extra = [...subject.extra, ...more];
  const list = targets.map(({ key, uri }) => `${key}:${uri}`).join(",");
  const args = lab.migrateArgs(vm, { extra: ["--nbd-targets", list, "--json", ...extra] });
  return startCli({ args, env: { TMPDIR: tempDir } });
}

async function playRound(
  lab: Lab,
  subject: Subject,
  random: Random,
  report: TortureReport,
  last: boolean,
): Promise<void> {
  for (const { key } of subject.targets) {
    await subject.vm.randomWrites(key, { seed: random.below(1 << 30), writes: random.below(12) });
  }
  if (random.below(3) === 0) {
    await subject.vm.guest.start({ seed: random.below(1 << 30), intervalMs: 15 });
  }
  const victim: Victim = last ? "nobody" : victims[random.below(victims.length)]!;
  // Slow ones live long enough for checkpoints, so that there is something to resume.
  const slow = random.below(3) === 0;
  const extra = [
    ...(random.below(8) === 0 ? ["--full"] : []),
    ...(slow ? ["--max-rate", "2M"] : []),
  ];
  const run = startRun(lab, subject, extra);
  await sleep(random.below(slow ? 7000 : 2600));
  report.kills[victim] = (report.kills[victim] ?? 0) + 1;
  await strike(lab, subject, victim, run.child);
  const result = await run.result;
  await subject.vm.guest.stop();
  // What did not strike this run must not strike the next.
  lab.vcenter.faults.clear();
  if (victim === "vcenter") await sleep(outageMs);
  if (/not what the last run left|differs at offset/.test(result.stderr)) {
    throw new Error(`the guard refused a target that nobody touched: ${result.stderr}`);
  }
  if (result.code === 0) {
    await checkCompleted(lab, subject, result, report);
  } else {
    const ending = `${result.signal ?? result.code}`;
    report.endings[ending] = (report.endings[ending] ?? 0) + 1;
    if (result.code === 1) throw new Error(`a bug: ${result.stderr}`);
    if (victim === "nobody") throw new Error(`failed although nothing died: ${result.stderr}`);
  }
}

async function strike(
  lab: Lab,
  subject: Subject,
  victim: Victim,
  child: { pid?: number | undefined; kill(signal: NodeJS.Signals): boolean },
): Promise<void> {
  if (victim === "migratekit") child.kill("SIGKILL");
  if (victim === "nbdkit") killNbdkitBelow(child.pid!);
  if (victim === "target") {
    await Promise.all(subject.servers.map((server) => server.kill()));
    await sleep(300);
    await Promise.all(subject.servers.map((server) => server.restart()));
  }
  if (victim === "tunnel") {
    await lab.targets.tunnel!.kill();
    await sleep(200);
    await lab.targets.tunnel!.restart();
  }
  if (victim === "vcenter") {
    lab.vcenter.faults.add({ name: "expireSessions", count: 1 });
    lab.vcenter.faults.add({ name: "refuseConnections", value: outageMs, count: 1 });
  }
  if (victim === "session") lab.vcenter.faults.add({ name: "expireSessions", count: 1 });
}

/** What must hold whenever a cycle says that it is complete. */
async function checkCompleted(
  lab: Lab,
  subject: Subject,
  result: CliResult,
  report: TortureReport,
): Promise<void> {
  const { vm } = subject;
  for (const server of subject.servers) await settle(server);
  for (const { key, file, capacityBytes } of subject.targets) {
    const { equal, difference } = await compareFiles(
      lab.frozenDisk(vm, key).imagePath,
      file,
      capacityBytes,
    );
    if (!equal) throw new Error(`disk-${key} is not its snapshot: ${difference}\n${result.stderr}`);
  }
  if (vm.snapshots.length > 0) {
    throw new Error(`snapshots are left: ${vm.snapshots.map(({ name }) => name).join(", ")}`);
  }
  const files = readdirSync(subject.tempDir);
  if (files.length > 0) throw new Error(`temporary files are left: ${files.join(", ")}`);
  const processes = processesNaming(subject.tempDir);
  if (processes.length > 0) throw new Error(`processes are left: ${JSON.stringify(processes)}`);
  checkState(lab, subject);
  const summary = JSON.parse(result.stdout) as { disks: { sync_type: string; resumed: boolean }[] };
  report.completed++;
  for (const one of summary.disks) {
    if (one.resumed) report.resumed++;
    else if (one.sync_type === "full") report.full++;
    else report.incremental++;
  }
}

/** A writeback cache keeps flushed data in its file; only its end makes the file the volume. */
async function settle(server: NbdServer): Promise<void> {
  if (server.kind !== "nbdkit") return;
  await server.kill();
  await server.restart();
}

function checkState(lab: Lab, { vm, stateDir, targets }: Subject): void {
  using state = StateDatabase.open(stateDir);
  const identity = {
    endpoint: lab.vcenter.endpoint,
    instanceUuid: vm.record.instanceUuid,
    vmPath: vm.path,
  };
  for (const { key } of targets) {
    if (new JournalStore(state).openJournal(identity, key)) {
      throw new Error(`disk-${key} still has a journal after a completed cycle`);
    }
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: "1" },
      rounds: { type: "string", default: "30" },
    },
  });
  const report = await torture({
    seed: Number(values.seed),
    rounds: Number(values.rounds),
    log: (line) => console.log(line),
  });
  console.log(JSON.stringify(report, null, 2));
}
