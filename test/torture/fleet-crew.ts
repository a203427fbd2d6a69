// The workers of a tortured fleet: each a process with a network, a clock and a line to the database of its
// own, and with an NBD server of its own, whose log so holds what this worker wrote and nothing else.

import { statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { FleetSite, FleetWorker } from "../lab/fleet-site.ts";
import { Line } from "../lab/line.ts";
import { startNbdkit } from "../lab/targets.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { startAppliance } from "./fleet-appliance.ts";

const fakeClock = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
/** A slow copy writes twice in it. */
const lookMs = 500;

/** Where every worker finds its targets. */
const targetPort = 10809;

export interface Hand {
  readonly worker: FleetWorker;
  /** To the database. */
  readonly line: Line;
  /** Of its NBD server. */
  readonly logFile: string;
  readonly clockFile: string;
  readonly belongings: AsyncDisposableStack;
  /** Takes no more VMs by our wish. */
  leaving: "killed" | "drains" | undefined;
  killedAtMs: number | undefined;
}

export class Crew implements AsyncDisposable {
  readonly hands: Hand[] = [];
  readonly #site: FleetSite;
  #hired = 0;

  constructor(site: FleetSite) {
    this.#site = site;
  }

  /** Those that neither died nor leave. */
  get working(): readonly Hand[] {
    return this.hands.filter(({ leaving }) => leaving === undefined);
  }

  /** Those of them whose targets are spoken to at this moment. */
  async busy(): Promise<readonly Hand[]> {
    const size = ({ logFile }: Hand) => statSync(logFile).size;
    const before = this.working.map((hand) => ({ hand, bytes: size(hand) }));
    await sleep(lookMs);
    return before
      .filter(({ hand, bytes }) => hand.leaving === undefined && size(hand) > bytes)
      .map(({ hand }) => hand);
  }

  async hire(): Promise<Hand> {
    const { lab, postgres } = this.#site;
    const name = `worker-${++this.#hired}`;
    const [logFile, clockFile] = [join(lab.dir, `${name}.log`), join(lab.dir, `${name}.clock`)];
    const folder = dirname(lab.targets.disksOf(this.#site.machines[0]!)[0]!.targetFile);
    const server = await startNbdkit([
      ...["--filter=log", "file", `dir=${folder}`, `logfile=${logFile}`],
    ]);
    const ways = [postgres.port, portOf(lab.vcenter.endpoint), portOf(lab.nfc.endpoint)];
    await using belongings = new AsyncDisposableStack();
    belongings.use(server);
    const appliance = belongings.use(await startAppliance([...ways, targetPort]));
    const [line] = [...ways, server.port].map((port, index) =>
      belongings.use(new Line(appliance.servers[index]!, port)),
    );
    writeFileSync(clockFile, "+0\n");
    const worker = await this.#site.startWorker(name, {
      within: [
        ...appliance.within,
        ...["env", `LD_PRELOAD=${fakeClock}`, `FAKETIME_TIMESTAMP_FILE=${clockFile}`],
        // Only the wall's clock is set by people.
        ...["FAKETIME_CACHE_DURATION=1", "DONT_FAKE_MONOTONIC=1"],
      ],
    });
    const hand: Hand = {
      ...{ worker, line: line!, logFile, clockFile, belongings: belongings.move() },
      ...{ leaving: undefined, killedAtMs: undefined },
    };
    this.hands.push(hand);
    return hand;
  }

  kill(hand: Hand): void {
    hand.leaving = "killed";
    hand.killedAtMs = Date.now();
    hand.worker.child.kill("SIGKILL");
  }

  /** Nothing where it was killed in the meantime. */
  drain(hand: Hand): void {
    if (hand.leaving !== undefined) return;
    hand.leaving = "drains";
    hand.worker.child.kill("SIGTERM");
  }

  /** `hours` off, from within a second on. */
  setClock({ clockFile }: Hand, hours: number): void {
    writeFileSync(clockFile, `${hours < 0 ? "" : "+"}${hours}h\n`);
  }

  /** Those who left have ended, as they should, and are forgotten. @throws for any other ending */
  async bury(): Promise<void> {
    for (const hand of [...this.hands]) {
      const { child, result, name } = hand.worker;
      if (hand.leaving === undefined && child.exitCode === null && child.signalCode === null)
        continue;
      const { code, signal } = await result;
      // One that is told to end before the database has answered at all has nothing to drain.
      const isRight =
        hand.leaving === "killed" ? signal === "SIGKILL" : code === 0 || signal === "SIGTERM";
      if (hand.leaving === undefined || !isRight)
        throw new Error(`${name} ended with ${signal ?? code}: ${hand.worker.log().slice(-4000)}`);
      await this.#dismiss(hand);
    }
  }

  async #dismiss(hand: Hand): Promise<void> {
    await hand.belongings.disposeAsync();
    this.hands.splice(this.hands.indexOf(hand), 1);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const hand of [...this.hands]) {
      hand.worker.child.kill("SIGKILL");
      await hand.worker.result;
      await this.#dismiss(hand);
    }
  }
}

/** The same for all workers, as a plan has it. */
export function targetUri(site: FleetSite, vm: LabVm): string {
  return `nbd://127.0.0.1:${targetPort}/${exportOf(site, vm)}`;
}

/** As the servers' logs have it: the file's name. */
export function exportOf({ lab }: FleetSite, vm: LabVm): string {
  return lab.targets.disksOf(vm)[0]!.targetFile.split("/").at(-1)!;
}

function portOf(endpoint: string): number {
  return Number(endpoint.slice(endpoint.lastIndexOf(":") + 1));
}
