/** Conversions that are killed at random on their way to the targets and back: all disks are old or new, never between. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, utimesSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { targetNames } from "../../src/nbd/target/names.ts";
import { isVmLocked } from "../../src/state/lock/lock.ts";
import { findTargetHolder } from "../../src/state/lock/target-lock.ts";
import { State } from "../../src/state/state.ts";
import type { NbdServer } from "../lab/nbd-server.ts";
import { startNbdServer, startQemuNbd } from "../lab/targets.ts";
import { flatten, makeOverlay, vm, writeAtRandom } from "../migration/apply/workshop.ts";
import { Random } from "../random.ts";
import { tempDir } from "../temp-dir.ts";
import type { ConversionJob } from "./conversion-child.ts";

export interface ConversionTorture {
  readonly seed: number;
  readonly rounds: number;
  log(line: string): void;
}

export interface ConversionReport {
  rounds: number;
  applied: number;
  broughtBack: number;
  killed: number;
  /** Of those, while targets were written. */
  killedWriting: number;
}

interface Disk {
  readonly key: number;
  readonly uri: string;
  readonly file: string;
  overlay: string;
  before: Buffer;
  after: Buffer;
}

const sizeBytes = 3 * 1024 * 1024;
const maxRate = 4 * 1024 * 1024;
const roundsOfOneGuest = 10;

export async function tortureConversions({ seed, rounds, log }: ConversionTorture) {
  log(`seed ${seed}`);
  const random = new Random(seed);
  const report = { rounds: 0, applied: 0, broughtBack: 0, killed: 0, killedWriting: 0 };
  await using folder = await tempDir();
  const place = new Place(folder.path);
  await using servers = new AsyncDisposableStack();
  const disks = [
    await place.disk(2000, (file) => startNbd(servers, file, folder.path)),
    await place.disk(2001, async (file) => servers.use(await startQemuNbd({ file }))),
  ];
  for (; report.rounds < rounds; report.rounds++) {
    if (report.rounds % roundsOfOneGuest === 0) await place.newGuest(disks, random, report.rounds);
    await place.round(disks, random, report);
  }
  log(JSON.stringify(report));
  return report;
}

/** When a child is killed: `writes soon` is so early that it cannot have ended, at the rate that it is given. */
type Fate = "lives" | "at any time" | "writes" | "writes soon";
const soonMs = 100;

/** Of each four rounds the first is killed for certain, and the second lives. */
function fateOf(round: number, random: Random): Fate {
  if (round % 4 === 0) return "writes soon";
  if (round % 4 === 1 || random.chance(0.15)) return "lives";
  return random.chance(0.5) ? "writes" : "at any time";
}

async function startNbd(servers: AsyncDisposableStack, file: string, folder: string) {
  const exports = [{ name: "volume", file }];
  return servers.use(await startNbdServer({ folder: join(folder, "nbd-server"), exports }));
}

class Place {
  readonly #folder: string;
  readonly #stateDir: string;
  readonly #keepOld: string;
  /** Of the last one that was let live. */
  #fullMs = 2_500;

  constructor(folder: string) {
    this.#folder = folder;
    this.#stateDir = join(folder, "state");
    this.#keepOld = join(folder, "kept");
  }

  async disk(key: number, start: (file: string) => Promise<NbdServer>): Promise<Disk> {
    const file = join(this.#folder, `${key}.img`);
    await writeFile(file, Buffer.alloc(sizeBytes));
    const { uri } = await start(file);
    return { key, uri, file, overlay: "", before: Buffer.alloc(0), after: Buffer.alloc(0) };
  }

  /** Other bytes on the targets, and other overlays over them. */
  async newGuest(disks: readonly Disk[], random: Random, round: number): Promise<void> {
    if (this.#phase() !== undefined) await this.#run("rollback", disks);
    for (const disk of disks) {
      const half = sizeBytes / 2;
      disk.before = Buffer.concat([random.bytes(half), Buffer.alloc(half)]);
      // In place: the servers have the file open.
      await writeFile(disk.file, disk.before, { flag: "r+" });
      disk.overlay = join(this.#folder, `${disk.key}-${round}.qcow2`);
      await makeOverlay(disk.overlay, disk.uri);
      await writeAtRandom(disk.overlay, random, sizeBytes);
      disk.after = await flatten(disk.overlay);
    }
  }

  /** One action, killed at random or not; then the next command; then all is looked at. */
  async round(disks: readonly Disk[], random: Random, report: ConversionReport): Promise<void> {
    const action = this.#phase() === "converted" ? "rollback" : "apply";
    const killed = await this.#run(action, disks, fateOf(report.rounds, random), random, report);
    for (let again = 0; again < 2 && random.chance(0.3); again++) {
      await this.#run("settle", disks, "at any time", random, report);
    }
    await this.#run("settle", disks);
    const phase = this.#phase();
    const where = `round ${report.rounds}, ${action}${killed ? ", killed" : ""}`;
    if (!killed) assert.equal(phase, action === "apply" ? "converted" : undefined, where);
    const wanted = phase === "converted" ? "after" : "before";
    for (const disk of disks) {
      const now = await readFile(disk.file);
      assert.ok(now.equals(disk[wanted]), `${where}: disk-${disk.key} is not as ${wanted}`);
    }
    if (phase === "converted") report.applied++;
    else report.broughtBack++;
    await this.#ageUnmarked(disks);
    await this.#assertClean(disks, phase === "converted" ? 1 : 0, where);
  }

  #phase(): string | undefined {
    using state = State.open(this.#stateDir);
    return state.conversions.read(vm)?.phase;
  }

  /** Gives whether it was killed before it ended. */
  async #run(
    action: ConversionJob["action"],
    disks: readonly Disk[],
    fate: Fate = "lives",
    random?: Random,
    report?: ConversionReport,
  ): Promise<boolean> {
    await mkdir(this.#temporary(), { recursive: true });
    const job: ConversionJob = {
      action,
      stateDir: this.#stateDir,
      keepOld: this.#keepOld,
      disks: disks.map(({ key, uri, overlay }) => ({ key, uri, overlay })),
      maxRate,
    };
    const startedMs = performance.now();
    const script = join(import.meta.dirname, "conversion-child.ts");
    const child = spawn(
      process.execPath,
      ["--disable-warning=ExperimentalWarning", script, JSON.stringify(job)],
      { env: { ...process.env, TMPDIR: this.#temporary() }, stdio: ["ignore", "pipe", "pipe"] },
    );
    let said = "";
    const writing = new Promise<void>((resolve) => {
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        said += text;
        if (said.includes("writing")) resolve();
      });
    });
    let complaint = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      complaint += text;
    });
    const closed = once(child, "close");
    if (random !== undefined && fate !== "lives") {
      const inWriting = fate !== "at any time";
      const mostMs = inWriting ? (fate === "writes" ? 1_000 : soonMs) : this.#fullMs;
      await Promise.race([closed, inWriting ? writing : undefined]);
      await Promise.race([closed, sleep(random.below(mostMs))]);
      child.kill("SIGKILL");
    }
    const [code, signal] = await closed;
    if (signal === "SIGKILL") {
      if (report) report.killed++;
      if (report && said.includes("writing")) report.killedWriting++;
      return true;
    }
    assert.equal(code, 0, `${action} failed: ${complaint}`);
    if (action !== "settle") this.#fullMs = performance.now() - startedMs;
    return false;
  }

  #temporary(): string {
    return join(this.#folder, "tmp");
  }

  /**
   * A folder of who was killed before it could mark it as its own looks like one that is being made just
   * now: it is cleared when it is a minute old. Here it is made so.
   */
  async #ageUnmarked(disks: readonly Disk[]): Promise<void> {
    const left = readdirSync(this.#temporary()).map((name) => join(this.#temporary(), name));
    const unmarked = left.filter((folder) => !readdirSync(folder).includes("owner"));
    const then = new Date(Date.now() - 120_000);
    for (const folder of unmarked) utimesSync(folder, then, then);
    if (unmarked.length > 0) await this.#run("settle", disks);
  }

  async #assertClean(disks: readonly Disk[], kept: number, where: string): Promise<void> {
    assert.equal(folderSize(this.#keepOld), kept, `${where}: folders of old bytes`);
    assert.deepEqual(readdirSync(this.#temporary()), [], `${where}: temporary files`);
    assert.deepEqual(processesOf(this.#temporary()), [], `${where}: processes`);
    assert.equal(isVmLocked(this.#stateDir, vm.instanceUuid), undefined, where);
    for (const { uri } of disks) {
      const { lasting } = await targetNames(uri);
      for (const name of lasting) assert.equal(await findTargetHolder(name), undefined, where);
    }
  }
}

function folderSize(folder: string): number {
  try {
    return readdirSync(folder).length;
  } catch {
    return 0; // never made yet
  }
}

/** Whose command line names something in the folder. */
function processesOf(folder: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const line = readFileSync(`/proc/${name}/cmdline`, "utf8").replaceAll("\0", " ");
        return line.includes(folder) ? [line] : [];
      } catch {
        return []; // ended
      }
    });
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "100" },
      seed: { type: "string", default: String(Date.now() % 1_000_000_000) },
    },
  });
  await tortureConversions({
    seed: Number(values.seed),
    rounds: Number(values.rounds),
    log: (line) => process.stdout.write(`${line}\n`),
  });
}
