/**
 * A guestfish that is asked one thing after the other: one start of libguestfs's appliance serves all
 * repairs and checks. Values travel escaped byte by byte; no shell ever sees them.
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import { MigratekitError } from "../../errors.ts";
import { hasExited, stopProcess } from "../../stop-process.ts";
import { oneLine } from "../../text.ts";
import type { Overlay } from "../machine.ts";
import { cannotStart } from "../tools/tools.ts";
import type { WorkFolder } from "../work/work.ts";
import { Mouthpiece } from "./mouthpiece.ts";
import { commandLine } from "./quote.ts";

export interface GuestfishOptions {
  readonly work: WorkFolder;
  readonly logger: Logger;
  /** Ends it. */
  readonly signal: AbortSignal;
  readonly forceTcg: boolean;
  readonly readOnly?: boolean;
}

/** What libguestfs said against a command. */
export class GuestfishError extends Error {}

export class Guestfish implements AsyncDisposable {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #stdout: Mouthpiece;
  readonly #stderr: Mouthpiece;
  readonly #options: GuestfishOptions;
  #files = 0;

  private constructor(child: ChildProcessWithoutNullStreams, options: GuestfishOptions) {
    this.#child = child;
    this.#options = options;
    this.#stdout = new Mouthpiece(child.stdout);
    this.#stderr = new Mouthpiece(child.stderr);
  }

  /** Starts it with the overlays as disks, and the appliance. @throws MigratekitError; the signal's reason */
  static async open(overlays: readonly Overlay[], options: GuestfishOptions): Promise<Guestfish> {
    options.signal.throwIfAborted();
    const settings = options.forceTcg ? { LIBGUESTFS_BACKEND_SETTINGS: "force_tcg" } : {};
    const child = spawn("guestfish", ["--keys-from-stdin"], {
      cwd: options.work.path,
      detached: true,
      env: { ...options.work.env, ...settings },
      stdio: ["pipe", "pipe", "pipe"],
    });
    if (child.pid === undefined) throw cannotStart("guestfish", (await once(child, "error"))[0]);
    child.stdin.on("error", () => {}); // Its end tells it better.
    const guestfish = new Guestfish(child, options);
    try {
      for (const { path } of overlays) {
        const readOnly = options.readOnly ? ["readonly:true"] : [];
        await guestfish.run("add", path, "format:qcow2", "cachemode:unsafe", ...readOnly);
      }
      await guestfish.run("run");
      return guestfish;
    } catch (error) {
      await guestfish[Symbol.asyncDispose]();
      if (!(error instanceof GuestfishError)) throw error;
      const message = `libguestfs's appliance did not start: ${error.message}`;
      throw new MigratekitError("conversion-failed", message, { cause: error });
    }
  }

  /** Gives what the command printed. @throws GuestfishError */
  async run(command: string, ...args: readonly string[]): Promise<string> {
    return (await this.bytes(command, ...args)).toString("utf8");
  }

  /** A command that asks for a key, which is one line: it goes the way of the commands, and is no argument. */
  async runWithKey(key: Buffer, command: string, ...args: readonly string[]): Promise<void> {
    await this.#ask(command, args, Buffer.concat([key, Buffer.from("\n")]));
  }

  /** The same as `run`, as bytes. */
  async bytes(command: string, ...args: readonly string[]): Promise<Buffer> {
    return this.#ask(command, args);
  }

  async #ask(command: string, args: readonly string[], more?: Buffer): Promise<Buffer> {
    this.#options.signal.throwIfAborted();
    const mark = `end-${randomBytes(8).toString("hex")}`;
    // The last is no command: guestfish says so on stderr, after all that it had to say there.
    this.#child.stdin.write(`-${commandLine(command, args)}\n`);
    if (more !== undefined) this.#child.stdin.write(more);
    this.#child.stdin.write(`echo ${mark}\n-${mark}\n`);
    const stop = () => void stopProcess(this.#child, { termTimeoutMs: 500 });
    this.#options.signal.addEventListener("abort", stop, { once: true });
    try {
      const [printed, said] = await Promise.all([
        this.#stdout.until(`${mark}\n`),
        this.#stderr.until(`${mark}: unknown command\n`),
      ]);
      const problem = said.toString("utf8").trim();
      if (problem === "") return printed;
      throw new GuestfishError(oneLine(`${command}: ${problem}`));
    } catch (error) {
      this.#options.signal.throwIfAborted();
      throw error;
    } finally {
      this.#options.signal.removeEventListener("abort", stop);
    }
  }

  /** Undefined where the command fails. */
  async attempt(command: string, ...args: readonly string[]): Promise<string | undefined> {
    try {
      return await this.run(command, ...args);
    } catch (error) {
      if (!(error instanceof GuestfishError)) throw error;
      this.#options.logger.debug({ guestfish: command }, error.message);
      return undefined;
    }
  }

  /** Lines that are not empty; none where the command fails. */
  async lines(command: string, ...args: readonly string[]): Promise<string[]> {
    const text = (await this.attempt(command, ...args)) ?? "";
    return text.split("\n").filter((line) => line !== "");
  }

  async isTrue(command: string, ...args: readonly string[]): Promise<boolean> {
    return (await this.attempt(command, ...args))?.trim() === "true";
  }

  /** Exactly the file's bytes; undefined where there is no such file. */
  async readFile(path: string): Promise<Buffer | undefined> {
    if (!(await this.isTrue("is-file", path, "followsymlinks:true"))) return undefined;
    const local = this.#localFile();
    try {
      if ((await this.attempt("download", path, local)) === undefined) return undefined;
      return await readFile(local);
    } finally {
      await rm(local, { force: true });
    }
  }

  async readText(path: string): Promise<string | undefined> {
    return (await this.readFile(path))?.toString("utf8");
  }

  /** Over an old file its owner, mode and label stay. */
  async writeFile(path: string, content: string): Promise<void> {
    const local = this.#localFile();
    try {
      await writeFile(local, content);
      await this.run("upload", local, path);
    } finally {
      await rm(local, { force: true });
    }
  }

  /** Ends it when everything is written. Never rejects. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (hasExited(this.#child)) return;
    this.#child.stdin.end();
    const ended = once(this.#child, "exit");
    const timer = setTimeout(() => void stopProcess(this.#child), closeTimeoutMs);
    await ended.catch(() => {});
    clearTimeout(timer);
  }

  /** Unmounts and ends the appliance, so that all is on the overlays. @throws GuestfishError */
  async close(): Promise<void> {
    await this.run("umount-all");
    await this.run("shutdown");
    await this[Symbol.asyncDispose]();
  }

  #localFile(): string {
    return join(this.#options.work.path, `file-${this.#files++}`);
  }
}

const closeTimeoutMs = 30_000;
