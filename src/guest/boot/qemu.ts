/** One QEMU with a guest in it: started, asked, ended. */
import { type ChildProcess, spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { MigratekitError, messageOf } from "../../errors.ts";
import { Qmp } from "../../qmp.ts";
import { describeExit, hasExited, stopProcess } from "../../stop-process.ts";
import { ConsoleText } from "./console.ts";
import { diskNode, type MachinePlan, qemuArguments } from "./machine.ts";

const quitTimeoutMs = 2_000;
const stderrCharsMax = 16 * 1024;
const clusterBytes = 64 * 1024;
const bitmap = "written";

export interface QemuOptions {
  readonly program: string;
  readonly env: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

export class Qemu implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #qmp: Qmp;
  readonly #console: ConsoleText;
  readonly #counts: { restarts: number };

  private constructor(
    child: ChildProcess,
    qmp: Qmp,
    text: ConsoleText,
    counts: { restarts: number },
  ) {
    this.#child = child;
    this.#qmp = qmp;
    this.#console = text;
    this.#counts = counts;
  }

  /** The guest runs when this returns. @throws MigratekitError `boot-failed`; the signal's reason */
  static async start(plan: MachinePlan, options: QemuOptions): Promise<Qemu> {
    const { program, env, signal } = options;
    // It stands still until all is prepared, so that nothing of it is missed.
    const child = spawn(program, [...qemuArguments(plan), "-S"], {
      ...{ detached: true, env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const text = new ConsoleText();
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => text.push(chunk));
    let complaints = "";
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      complaints = (complaints + chunk).slice(-stderrCharsMax);
    });
    const ended = new AbortController();
    let cause: Error | undefined;
    child.once("error", (error) => {
      cause = error;
      ended.abort(error);
    });
    child.once("exit", () => ended.abort(new Error(`it ended with ${describeExit(child)}`)));
    const counts = { restarts: 0 };
    try {
      const qmp = await Qmp.connect(
        plan.qmpSocket,
        ({ event, data }) => {
          if (event === "RESET" && data?.guest === true) counts.restarts += 1;
        },
        AbortSignal.any([signal, ended.signal]),
      );
      for (const index of plan.disks.keys()) {
        const where = { node: diskNode(index), name: bitmap, granularity: clusterBytes };
        await qmp.execute("block-dirty-bitmap-add", where);
      }
      await qmp.execute("cont");
      return new Qemu(child, qmp, text, counts);
    } catch (error) {
      await stopProcess(child);
      signal.throwIfAborted();
      const said = complaints.trim() || messageOf(cause ?? ended.signal.reason ?? error);
      throw new MigratekitError("boot-failed", `QEMU could not start the guest: ${said}`, {
        cause: error,
      });
    }
  }

  get console(): string {
    return this.#console.text;
  }

  get restarts(): number {
    return this.#counts.restarts;
  }

  /** The guest has switched itself off, which ends QEMU. */
  get off(): boolean {
    return hasExited(this.#child);
  }

  /** Of all disks together, each cluster once. */
  async writtenBytes(): Promise<number> {
    const nodes = (await this.#qmp.execute("query-named-block-nodes", { flat: true })) as {
      "dirty-bitmaps"?: { name?: string; count: number }[];
    }[];
    const bitmaps = nodes.flatMap((node) => node["dirty-bitmaps"] ?? []);
    return bitmaps.reduce((sum, { name, count }) => sum + (name === bitmap ? count : 0), 0);
  }

  /** A PNG of what a monitor would show. @throws Error with QEMU's words */
  async takePicture(path: string): Promise<void> {
    await this.#qmp.execute("screendump", { filename: path, format: "png" });
  }

  /** Asked first; then as any process that is to end. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.off) {
      const quit = this.#qmp.execute("quit").catch(() => {}); // it may go before it answers
      const timer = new AbortController();
      const timeout = sleep(quitTimeoutMs, undefined, { signal: timer.signal }).catch(() => {});
      const gone = new Promise<void>((resolve) => this.#child.once("exit", () => resolve()));
      await Promise.race([Promise.all([quit, gone]), timeout]);
      timer.abort();
    }
    this.#qmp[Symbol.dispose]();
    await stopProcess(this.#child);
  }
}
