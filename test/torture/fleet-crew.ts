// The workers of a tortured fleet: each a process with a clock and a line to the database of its own, and with
// an NBD server of its own, whose log so holds what this worker wrote and nothing else.

import { readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { FleetSite, FleetWorker } from "../lab/fleet-site.ts";
import { Line } from "../lab/line.ts";
import type { NbdServer } from "../lab/nbd-server.ts";
import { startNbdkit } from "../lab/targets.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";

const fakeClock = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
/** A slow copy writes twice in it. */
const lookMs = 500;

export interface Hand {
  readonly worker: FleetWorker;
  readonly line: Line;
  readonly server: NbdServer;
  /** Of its server. */
  readonly logFile: string;
  readonly clockFile: string;
  /** Takes no more VMs by our wish. */
  leaving: "killed" | "drains" | undefined;
  killedAtMs: number | undefined;
}

export class Crew implements AsyncDisposable {
  readonly hands: Hand[] = [];
  readonly #site: FleetSite;
  readonly #stack = new AsyncDisposableStack();
  #targets: Line | undefined;
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

  /** The same for all workers, as a plan has it. */
  async targetUri(vm: LabVm): Promise<string> {
    this.#targets ??= this.#stack.use(
      await Line.start((caller) => this.#ownerOf(caller)?.server.port),
    );
    return `nbd://127.0.0.1:${this.#targets.port}/${exportOf(this.#site, vm)}`;
  }

  async hire(): Promise<Hand> {
    const { lab, postgres, url } = this.#site;
    const name = `worker-${++this.#hired}`;
    const [logFile, clockFile] = [join(lab.dir, `${name}.log`), join(lab.dir, `${name}.clock`)];
    const folder = dirname(lab.targets.disksOf(this.#site.machines[0]!)[0]!.targetFile);
    const server = await startNbdkit([
      ...["--filter=log", "file", `dir=${folder}`, `logfile=${logFile}`],
    ]);
    const line = await Line.start(() => postgres.port);
    writeFileSync(clockFile, "+0\n");
    const worker = await this.#site.startWorker(name, {
      url: url.replace(`:${postgres.port}`, `:${line.port}`),
      within: [
        ...["env", `LD_PRELOAD=${fakeClock}`, `FAKETIME_TIMESTAMP_FILE=${clockFile}`],
        // Only the wall's clock is set by people.
        ...["FAKETIME_CACHE_DURATION=1", "DONT_FAKE_MONOTONIC=1"],
      ],
    });
    const hand: Hand = {
      ...{ worker, line, server, logFile, clockFile },
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

  drain(hand: Hand): void {
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
    await hand.line[Symbol.asyncDispose]();
    await hand.server.stop();
    this.hands.splice(this.hands.indexOf(hand), 1);
  }

  /** Looked up before a byte is passed on. Who has died since has no connection any more. */
  #ownerOf({ remotePort, localPort }: Socket): Hand | undefined {
    const inode = inodeOf(remotePort ?? 0, localPort ?? 0);
    return this.hands.find(({ worker }) => holdsSocket(worker.child.pid!, inode));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const hand of [...this.hands]) {
      hand.worker.child.kill("SIGKILL");
      await hand.worker.result;
      await this.#dismiss(hand);
    }
    await this.#stack.disposeAsync();
  }
}

/** As the servers' logs have it: the file's name. */
export function exportOf({ lab }: FleetSite, vm: LabVm): string {
  return lab.targets.disksOf(vm)[0]!.targetFile.split("/").at(-1)!;
}

/** Of the caller's end of a connection on this machine. */
function inodeOf(callerPort: number, calleePort: number): string | undefined {
  const ends = [callerPort, calleePort].map(
    (port) => `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`,
  );
  for (const row of readFileSync("/proc/net/tcp", "utf8").split("\n")) {
    const [, local, remote, ...rest] = row.trim().split(/\s+/);
    if (local === ends[0] && remote === ends[1]) return rest[6];
  }
  return undefined;
}

function holdsSocket(pid: number, inode: string | undefined): boolean {
  if (inode === undefined) return false;
  const folder = `/proc/${pid}/fd`;
  try {
    return readdirSync(folder).some((fd) => linkOf(join(folder, fd)) === `socket:[${inode}]`);
  } catch {
    return false; // it has ended
  }
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined; // closed meanwhile
  }
}
