// Cutovers to CloudStack and their ways back, killed after any call to its API and at any time, while the API fails:
// never two machines, no volume lost or attached twice, no VM running on both sides, and always a command that goes
// on or goes back.
//
//   npm run test:torture:cloudstack -- --seed 1 --rounds 100

import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { DeployLab } from "../e2e/deploy-lab.ts";
import type { CloudStackFault } from "../lab/cloudstack/api/faults.ts";
import type { InstanceRecord } from "../lab/cloudstack/world/records.ts";
import { Random } from "../random.ts";
import { chooseFaults } from "./cloudstack-faults.ts";

export interface CloudStackTorture {
  readonly seed: number;
  readonly rounds: number;
  /** Faults that keep a command waiting for a minute, too. [false] */
  readonly patient?: boolean;
  /** Whether an account may expunge what it destroys; else a cleaner does, between two rounds. [true] */
  readonly expunges?: boolean;
  log(line: string): void;
}

export interface CloudStackReport {
  rounds: number;
  /** How often a cutover and a rollback came to its end. */
  cutOver: number;
  broughtBack: number;
  /** Cutovers that failed, and went back by themselves. */
  wentBack: number;
  killed: number;
  /** Of those, right after a call to the API. */
  killedAtCall: number;
  /** Faults that struck, by name. */
  faults: Record<string, number>;
}

type Command = "cutover" | "rollback";

interface Ended {
  readonly killed: boolean;
  readonly code: number | null;
  /** All that it said. */
  readonly said: string;
}

/** More than the way can need, each try with a kill or a fault; the last are left alone. */
const triesMax = 8;
const triesInPeace = 3;
const blockBytes = 4096;

/** @throws at the first violation, naming seed and round */
export async function tortureCloudStack(options: CloudStackTorture): Promise<CloudStackReport> {
  const { seed, rounds, log, expunges: usersMayExpunge = true } = options;
  log(`seed ${seed}`);
  await using site = await DeployLab.start({ detachTimeoutMs: 20_000, usersMayExpunge });
  const torment = new Torment(site, new Random(seed), options);
  for (let round = 1; round <= rounds; round++) {
    const startedMs = performance.now();
    try {
      await torment.round(round);
    } catch (error) {
      const { message } = error as Error;
      throw new Error(`seed ${seed}, round ${round}: ${message}\n${torment.story()}`, {
        cause: error,
      });
    }
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    log(`round ${round}, ${seconds} s: ${torment.story()}`);
  }
  log(JSON.stringify(torment.report));
  return torment.report;
}

class Torment {
  readonly report: CloudStackReport = {
    ...{ rounds: 0, cutOver: 0, broughtBack: 0, wentBack: 0, killed: 0, killedAtCall: 0 },
    faults: {},
  };
  readonly #site: DeployLab;
  readonly #random: Random;
  readonly #patient: boolean;
  /** Of each command that was let live: how many calls it made, and how long it took. */
  readonly #whole = { cutover: { calls: 30, ms: 4_000 }, rollback: { calls: 30, ms: 4_000 } };
  /** Calls, by their number, after which one is still to be killed: all of them before one comes again. */
  readonly #callsLeft: Record<Command, number[]> = { cutover: [], rollback: [] };
  #story: string[] = [];
  #onCall: () => void = () => {};

  constructor(site: DeployLab, random: Random, { patient = false }: CloudStackTorture) {
    this.#site = site;
    this.#random = random;
    this.#patient = patient;
    site.cloud.onCall(() => this.#onCall());
  }

  story(): string {
    return this.#story.join("; ");
  }

  async round(round: number): Promise<void> {
    this.#story = [];
    await this.#synced();
    const random = this.#random;
    if (await this.#goTo("cutover")) await this.#checkCutOver();
    else this.report.wentBack++;
    // One that was left on its way goes back as well as one that lives.
    if (this.#isUnderWay) await this.#goTo("rollback");
    // With a machine goes what is in its root slot.
    await this.#site.cloud.expungeDestroyed();
    this.#site.assertBack();
    if (random.chance(0.2)) this.#site.vm.setPowerState("poweredOn");
    this.report.rounds = round;
  }

  /** The source runs, and its volumes at the appliance hold what it had at its last snapshot. */
  async #synced(): Promise<void> {
    const { vm } = this.#site;
    vm.setPowerState("poweredOn");
    await vm.randomWrites(2000, { seed: this.#random.below(1_000_000), writes: 4 });
    const run = await this.#site.migrate();
    assert.equal(run.code, 0, run.stderr);
    await this.#site.assertSynced();
  }

  get #isUnderWay(): boolean {
    return this.#site.deployment() !== undefined;
  }

  /** Again and again until it is there; whether it is. A cutover may fail and go back, which is an end as well. */
  async #goTo(command: Command): Promise<boolean> {
    let last = "";
    for (let tries = 0; tries < triesMax; tries++) {
      const { killed, code, said } = await this.#run(command, tries);
      await this.#checkAlways();
      if (code === 0) {
        if (command === "cutover") this.report.cutOver++;
        else this.report.broughtBack++;
        return true;
      }
      if (!killed) this.#checkSaid(command, said);
      last = said;
      if (command === "rollback" && !this.#isUnderWay) return true;
      if (command === "cutover" && !this.#isUnderWay && (await this.#isBack())) {
        if (!killed) return false;
      } else {
        await this.#checkRefused();
      }
      // Who finds it half way may as well go back.
      if (command === "cutover" && this.#isUnderWay && this.#random.chance(0.3)) return false;
    }
    throw new Error(`${command} did not come to an end: ${last}`);
  }

  async #run(command: Command, tries: number): Promise<Ended> {
    const random = this.#random;
    const troubled = tries < triesInPeace;
    const { cloud } = this.#site;
    const faults = troubled && random.chance(0.6) ? chooseFaults(random, this.#patient) : [];
    for (const fault of faults) cloud.faults.add(fault);
    const fate = this.#fateOf(tries);
    const whole = this.#whole[command];
    const startedMs = performance.now();
    let calls = 0;
    let killedAt = "";
    const { child, ended } = this.#start(command);
    const kill = (where: string) => {
      if (child.exitCode !== null || killedAt !== "") return;
      killedAt = where;
      child.kill("SIGKILL");
    };
    const nth = fate === "call" ? this.#takeCall(command) : Number.POSITIVE_INFINITY;
    const restartAt = troubled && random.chance(0.1) ? random.below(whole.calls) : -1;
    this.#onCall = () => {
      calls++;
      if (calls === nth) kill(`call ${nth}, ${cloud.calls.calls.at(-1)?.command}`);
      if (calls === restartAt) cloud.restart();
    };
    const timer = new AbortController();
    const late = sleep(random.below(whole.ms), undefined, { signal: timer.signal })
      .then(() => fate === "time" && kill(`${Math.round(performance.now() - startedMs)} ms`))
      .catch(() => {});
    const result = await ended;
    timer.abort();
    await late;
    this.#onCall = () => {};
    const left = cloud.faults.list();
    cloud.faults.clear();
    await cloud.settled();
    this.#note(command, { killedAt, faults: faults.filter((fault) => !left.includes(fault)) });
    if (result.code === 0 && faults.length === 0)
      this.#whole[command] = { calls, ms: performance.now() - startedMs };
    return { ...result, killed: killedAt !== "" };
  }

  #note(command: Command, how: { killedAt: string; faults: CloudStackFault[] }): void {
    const { killedAt, faults } = how;
    if (killedAt !== "") this.report.killed++;
    if (killedAt.startsWith("call")) this.report.killedAtCall++;
    for (const { name } of faults) this.report.faults[name] = (this.report.faults[name] ?? 0) + 1;
    const struck = faults.map(({ name, command: of = "any" }) => ` ${name} of ${of}`).join();
    this.#story.push(`${command}${struck}${killedAt && ` killed at ${killedAt}`}`);
  }

  /** The first try of each is killed after a call, so that in the end there was a kill after every call. */
  #fateOf(tries: number): "call" | "time" | "lives" {
    if (tries === 0) return "call";
    return tries < triesInPeace ? this.#random.pick(["call", "time", "lives", "lives"]) : "lives";
  }

  #takeCall(command: Command): number {
    const left = this.#callsLeft[command];
    if (left.length === 0) {
      const all = Array.from({ length: this.#whole[command].calls }, (_, index) => index + 1);
      left.push(...this.#random.shuffle(all));
    }
    return left.pop()!;
  }

  #start(command: Command): { child: ChildProcess; ended: Promise<Omit<Ended, "killed">> } {
    if (command === "cutover") {
      const powersOn = this.#random.chance(0.3) ? ["--power-on-source"] : [];
      const { child, result } = this.#site.start(...powersOn);
      const ended = result.then(({ code, log, failure }) => ({
        code,
        said: `${log}${JSON.stringify(failure)}`,
      }));
      return { child, ended };
    }
    const { child, result } = this.#site.startRollback({ connected: true });
    return {
      child,
      ended: result.then(({ code, stdout, stderr }) => ({ code, said: stderr + stdout })),
    };
  }

  /** What must hold whatever was killed, and whenever. */
  async #checkAlways(): Promise<void> {
    const { cloud, vm } = this.#site;
    assert.deepEqual(cloud.violations, []);
    const machines = this.#machines();
    assert.ok(machines.length <= 1, `${machines.map(({ name }) => name).join(" and ")} are there`);
    const places = Object.values(this.#site.places());
    assert.ok(!places.includes("gone"), `a volume is lost: ${places.join()}`);
    const [machine] = machines;
    const both = machine?.state === "Running" && vm.record.powerState === "poweredOn";
    assert.ok(!both, `${machine?.name} and ${vm.name} run`);
    if (!this.#isUnderWay) assert.deepEqual(machines, [], "a machine that nobody knows of");
    if (machine?.state === "Running") await this.#guestWrites();
  }

  /** Those that were not thrown away. */
  #machines(): InstanceRecord[] {
    return this.#site.cloud.instances().filter(({ state }) => state !== "Destroyed");
  }

  /** What a machine that runs does to its volumes: none of it may be left after the way back. */
  async #guestWrites(): Promise<void> {
    const random = this.#random;
    for (const { record } of this.#site.vm.disks) {
      await using file = await open(this.#site.fileOf(record.key), "r+");
      const blocks = record.capacityBytes / blockBytes;
      await file.write(random.bytes(blockBytes), 0, blockBytes, random.below(blocks) * blockBytes);
    }
  }

  /** A command that failed says which one goes on or back where it ended half way. */
  #checkSaid(command: Command, said: string): void {
    const goesOn = /migratekit (rollback|cutover)|same command/;
    if (this.#isUnderWay) assert.match(said, goesOn, `${command} leaves people alone: ${said}`);
  }

  /** Half way, no sync may write to what is on its way, and it says which command goes on. */
  async #checkRefused(): Promise<void> {
    if (!this.#isUnderWay || !this.#random.chance(0.2)) return;
    const run = await this.#site.migrate();
    assert.equal(run.code, 7, run.stderr);
    assert.match(run.stderr, /migratekit rollback/);
  }

  async #isBack(): Promise<boolean> {
    return Object.values(this.#site.places()).every((place) => place === "appliance");
  }

  async #checkCutOver(): Promise<void> {
    const { cloud, vm } = this.#site;
    const [machine] = this.#machines();
    assert.equal(machine?.state, "Running");
    assert.equal(vm.record.powerState, "poweredOff");
    const { name } = machine;
    assert.deepEqual(this.#site.places(), { 2000: `${name} 1`, 2001: `${name} 0` });
    const destroyed = cloud.instances().filter(({ state }) => state === "Destroyed");
    const theirs = new Set(destroyed.map(({ id }) => id));
    const volumes = cloud.volumes().filter(({ instanceId = "" }) => !theirs.has(instanceId));
    assert.equal(volumes.length, 2, "the root that it was made with is gone");
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "100" },
      seed: { type: "string", default: String(Date.now() % 1_000_000_000) },
      patient: { type: "boolean" },
      "no-expunge": { type: "boolean" },
    },
  });
  await tortureCloudStack({
    seed: Number(values.seed),
    rounds: Number(values.rounds),
    patient: values.patient === true,
    expunges: values["no-expunge"] !== true,
    log: (line) => process.stdout.write(`${line}\n`),
  });
}
