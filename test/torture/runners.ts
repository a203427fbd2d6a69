// Runs of two VMs from two appliances, as a state machine that is driven at random against real ones: at
// the same minute, killed, paused and gone on, in containers, onto each other's volumes. Whatever says
// that it succeeded must have left its target equal to its snapshot, and nothing else is ever a bug.
//
//   npm run test:runners -- --seed 1 --sequences 500

import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { connectionArgs } from "../e2e/cli-commands.ts";
import { type Comparison, compareFiles } from "../lab/compare.ts";
import { type CliResult, type CliRun, startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import { frozenCopies } from "../lab/vcenter/frozen-copies.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { Random } from "../random.ts";

const mebibyte = 1 << 20;
const key = 2000;
const appliances = ["first", "second"] as const;
type Appliance = (typeof appliances)[number];

/** Exit codes by which a run may end that did not succeed; 1, a bug, is none of them. */
const refusals = new Set([3, 4, 5, 7]);

export interface RunnersOptions {
  seed: number;
  sequences: number;
  log?: (line: string) => void;
}

export interface RunnersReport {
  sequences: number;
  succeeded: number;
  /** Of runs that did not succeed, by exit code or signal. */
  endings: Record<string, number>;
  /** What was done to runs under way. */
  strikes: Record<string, number>;
}

interface World {
  readonly lab: Lab;
  readonly vms: readonly LabVm[];
  readonly random: Random;
  readonly report: RunnersReport;
}

/** A run under way: of which VM, onto whose volume. */
interface Active {
  readonly vm: LabVm;
  readonly owner: LabVm;
  readonly run: CliRun;
  readonly container: boolean;
  ended: boolean;
}

/** @throws at the first violation, naming seed and sequence */
export async function runners(options: RunnersOptions): Promise<RunnersReport> {
  const report: RunnersReport = { sequences: 0, succeeded: 0, endings: {}, strikes: {} };
  const random = new Random(options.seed);
  const disk = (seed: number) => ({
    capacityBytes: 3 * mebibyte + 512,
    fill: { seed, dataRatio: 0.6, zeroRatio: 0.1 },
  });
  await using lab = await startLab({
    targets: "direct",
    vms: [
      { name: "alpha", disks: [disk(1)] },
      { name: "beta", disks: [disk(2)] },
    ],
  });
  const world: World = { lab, vms: [lab.vm("alpha"), lab.vm("beta")], random, report };
  await lab.vddk.setFaults({ delay_us: 40_000 });
  for (let sequence = 1; sequence <= options.sequences; sequence++) {
    try {
      await playSequence(world);
      await calmDown(world);
    } catch (error) {
      throw new Error(`seed ${options.seed}, sequence ${sequence}: ${(error as Error).message}`, {
        cause: error,
      });
    }
    report.sequences = sequence;
    if (sequence % 10 === 0) {
      options.log?.(`${sequence} sequences, ${report.succeeded} successes`);
    }
  }
  return report;
}

/** Two to four runs that begin one after another, each struck or not, all awaited. */
async function playSequence(world: World): Promise<void> {
  const { random, vms } = world;
  const active: Active[] = [];
  const checks: Promise<void>[] = [];
  for (let count = 2 + random.below(3); count > 0; count--) {
    const vm = vms[random.below(vms.length)]!;
    await vm.randomWrites(key, { seed: random.below(1 << 30), writes: random.below(8) });
    const one = begin(world, vm);
    active.push(one);
    checks.push(judge(world, one, active));
    const strike = sleep(random.below(1500)).then(() => strikeAt(world, one));
    // At the same minute, or one after another.
    await (random.below(2) === 0 ? strike : Promise.all([strike, checks.at(-1)]));
    checks.push(strike);
  }
  await Promise.all(checks);
}

function begin({ lab, vms, random }: World, vm: LabVm): Active {
  const appliance: Appliance = appliances[random.below(2)]!;
  // A line that was copied and changed in one place only.
  const owner = random.below(6) === 0 ? vms.find((other) => other !== vm)! : vm;
  const container = random.below(5) === 0;
  const target = lab.targets.disksOf(owner)[0]!;
  const extra = [
    ...["--nbd-targets", `${key}:${target.exportUri}`, "--state-dir", stateDirOf(lab, appliance)],
    ...["--json", "--stall-timeout", "3s"],
    ...(random.below(6) === 0 ? ["--full"] : []),
  ];
  const run = startCli({
    args: lab.migrateArgs(vm, { extra }),
    within: container ? ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"] : [],
  });
  return { vm, owner, run, container, ended: false };
}

function stateDirOf(lab: Lab, appliance: Appliance): string {
  return join(lab.dir, `state-${appliance}`);
}

async function strikeAt({ random, report }: World, { run, container, ended }: Active) {
  if (ended) return;
  const ways = ["none", "none", "kill", "term", ...(container ? [] : ["pause", "pauseLong"])];
  const way = ways[random.below(ways.length)]!;
  report.strikes[way] = (report.strikes[way] ?? 0) + 1;
  if (way === "kill") run.child.kill("SIGKILL");
  if (way === "term") run.child.kill("SIGTERM");
  if (way === "pause" || way === "pauseLong") {
    run.child.kill("SIGSTOP");
    // Longer than the limit after which the other side counts as lost.
    await sleep(way === "pause" ? 300 : 5000);
    run.child.kill("SIGCONT");
  }
}

/** Waits for a run's end; a success is compared while everybody else stands still. */
async function judge(world: World, one: Active, active: readonly Active[]): Promise<void> {
  const { report } = world;
  const result = await one.run.result;
  one.ended = true;
  if (result.code === 0) {
    const others = active.filter((other) => !other.ended && !other.container);
    for (const { run } of others) run.child.kill("SIGSTOP");
    try {
      const { equal, difference } = await compareRun(world, one, result);
      if (!equal) throw new Error(`a success is wrong: ${difference}\n${result.stderr}`);
    } finally {
      for (const { run } of others) run.child.kill("SIGCONT");
    }
    report.succeeded++;
    return;
  }
  const ending = `${result.signal ?? result.code}`;
  report.endings[ending] = (report.endings[ending] ?? 0) + 1;
  const bySignal = result.signal !== null || (result.code ?? 0) > 128;
  if (!bySignal && !refusals.has(result.code ?? 1)) {
    throw new Error(`ended with ${ending}: ${result.stderr}`);
  }
}

/** The volume that it wrote to, with what its very own snapshot froze. */
async function compareRun({ lab }: World, one: Active, result: CliResult): Promise<Comparison> {
  const { run_id } = JSON.parse(result.stdout) as { run_id: string };
  const copies = frozenCopies(lab.dir, one.vm.moref);
  const snapshot = copies.find(({ name }) => name === `migratekit-${run_id}`)?.snapshot;
  if (snapshot === undefined) throw new Error(`run ${run_id} has made no snapshot`);
  const { imagePath, capacityBytes } = lab.frozenDisk(one.vm, key, snapshot);
  const { targetFile } = lab.targets.disksOf(one.owner)[0]!;
  return await compareFiles(imagePath, targetFile, capacityBytes);
}

/**
 * What an operator does when he comes: what dead runs left is removed, each VM is synced to its own
 * volume, and from then on an incremental run is enough.
 */
async function calmDown(world: World): Promise<void> {
  const { lab, vms, random } = world;
  const appliance = appliances[random.below(2)]!;
  const state = ["--state-dir", stateDirOf(lab, appliance)];
  const clean = async (vm: LabVm) => {
    const args = ["cleanup", ...connectionArgs(lab, vm), ...state, "--foreign", "all", "--yes"];
    const cleaned = await startCli({ args }).result;
    if (cleaned.code !== 0) throw new Error(`cleanup failed: ${cleaned.stderr}`);
  };
  for (const vm of vms) {
    if (vm.snapshots.length > 0) await clean(vm);
    const { exportUri } = lab.targets.disksOf(vm)[0]!;
    const own = ["--nbd-targets", `${key}:${exportUri}`, ...state, "--json"];
    const asked = ["--on-target-mismatch", "full", "--take-over-target"];
    const sync = () =>
      startCli({ args: lab.migrateArgs(vm, { extra: [...own, ...asked] }) }).result;
    let result = await sync();
    // vSphere finishes the snapshot of a run that was killed while it asked for it.
    if (result.code === 7 && vm.snapshots.length > 0) {
      await clean(vm);
      result = await sync();
    }
    if (result.code !== 0) throw new Error(`the operator's sync failed: ${result.stderr}`);
    const one = { vm, owner: vm } as Active;
    const { equal, difference } = await compareRun(world, one, result);
    if (!equal) throw new Error(`the operator's sync is wrong: ${difference}\n${result.stderr}`);
    if (vm.snapshots.length > 0) throw new Error(`${vm.name} has a snapshot left`);
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: "1" },
      sequences: { type: "string", default: "40" },
    },
  });
  const report = await runners({
    seed: Number(values.seed),
    sequences: Number(values.sequences),
    log: (line) => console.log(line),
  });
  console.log(JSON.stringify(report, null, 2));
}
