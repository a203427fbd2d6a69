// What is done to a tortured fleet. Each fault ends by itself: what it broke is whole again then.

import { setTimeout as sleep } from "node:timers/promises";
import type { FleetSite } from "../lab/fleet-site.ts";
import type { Random } from "../random.ts";
import type { Crew, Hand } from "./fleet-crew.ts";

export interface Struck {
  readonly site: FleetSite;
  readonly crew: Crew;
  /** Longer than a lease and the grace. */
  readonly tooLongMs: number;
  /** Two plans at once, each without one VM; @throws if what holds then is neither. */
  applyTwo(dice: Dice): Promise<void>;
}

/** Thrown before a fault begins, as faults run beside each other. */
export interface Dice {
  readonly delayMs: number;
  readonly long: boolean;
  readonly lastsMs: number;
  /** Chooses a worker, a VM, a number of hours. */
  readonly number: number;
}

const aimMs = 1500;

const faultNames = [
  ...(["kill", "stop", "cut", "clock", "upgrade", "applyTwo"] as const),
  ...(["databaseKill", "databaseFreeze"] as const),
] as const;
export type FaultName = (typeof faultNames)[number];

/** They last for as long as the dice say. */
export const lasting: ReadonlySet<FaultName> = new Set([
  "stop",
  "cut",
  "databaseKill",
  "databaseFreeze",
]);

/** One to three of them; of the database one at most. */
export function chooseFaults(random: Random): FaultName[] {
  const chosen = random.shuffle<FaultName>([...faultNames]).slice(0, 1 + random.below(3));
  const ofDatabase = chosen.filter((name) => name.startsWith("database"));
  return chosen.filter((name) => !ofDatabase.slice(1).includes(name));
}

export function throwDice(random: Random, tooLongMs: number): Dice {
  const long = random.below(2) === 0;
  return {
    delayMs: random.below(1000),
    long,
    lastsMs: long ? tooLongMs : 200 + random.below(1300),
    number: random.below(1 << 20),
  };
}

/** Resolves when it is over; false where there was nobody to strike. */
export async function strike(struck: Struck, name: FaultName, dice: Dice): Promise<boolean> {
  await sleep(dice.delayMs);
  if (name === "applyTwo") await struck.applyTwo(dice);
  else if (name === "databaseKill" || name === "databaseFreeze")
    await strikeDatabase(struck, name, dice);
  else {
    const { crew } = struck;
    // In mid-copy, if there is such a worker.
    const deadline = performance.now() + aimMs;
    let choice: readonly Hand[] = [];
    while (choice.length === 0 && performance.now() < deadline) choice = await crew.busy();
    if (choice.length === 0) choice = crew.working;
    const victim = choice[dice.number % Math.max(choice.length, 1)];
    if (victim === undefined) return false;
    await strikeWorker(struck, victim, name, dice);
  }
  return true;
}

async function strikeDatabase(
  { site: { postgres } }: Struck,
  name: "databaseKill" | "databaseFreeze",
  { lastsMs }: Dice,
): Promise<void> {
  if (name === "databaseKill") {
    await postgres.kill();
    await sleep(lastsMs);
    await postgres.start();
    return;
  }
  postgres.freeze();
  await sleep(lastsMs);
  postgres.thaw();
}

async function strikeWorker(
  { crew }: Struck,
  victim: Hand,
  name: "kill" | "stop" | "cut" | "clock" | "upgrade",
  { lastsMs, number }: Dice,
): Promise<void> {
  if (name === "kill") crew.kill(victim);
  else if (name === "clock")
    crew.setClock(victim, (number % 2 === 0 ? 1 : -1) * (1 + (number % 11)));
  else if (name === "upgrade") {
    await crew.hire();
    crew.drain(victim);
  } else if (name === "stop") {
    victim.worker.child.kill("SIGSTOP");
    await sleep(lastsMs);
    victim.worker.child.kill("SIGCONT");
  } else {
    victim.line.cut(number % 3 === 0 ? "refused" : "silent");
    await sleep(lastsMs);
    victim.line.mend();
  }
}
