// A test guest's disks as targets of two kinds of servers, converted by hand, without any vCenter.

import assert from "node:assert/strict";
import { constants } from "node:fs";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { digestOfFile } from "../digest.ts";
import { writeStandIn } from "../guest/stand-in.ts";
import { type CliResult, startCli } from "../lab/run-cli.ts";
import { startNbdServer, startQemuNbd } from "../lab/targets.ts";
import { tempDir } from "../temp-dir.ts";
import { guestDisks } from "./debian/debian.ts";
import { type GuestName, recipes } from "./debian/recipe.ts";

export class GuestByHand implements AsyncDisposable {
  readonly name: GuestName;
  /** For whatever goes with it. */
  readonly folder: string;
  readonly #targets: readonly string[];
  readonly #uris: readonly string[];
  readonly #stack: AsyncDisposableStack;

  private constructor(
    name: GuestName,
    folder: string,
    targets: readonly string[],
    uris: readonly string[],
    stack: AsyncDisposableStack,
  ) {
    this.name = name;
    this.folder = folder;
    this.#targets = targets;
    this.#uris = uris;
    this.#stack = stack;
  }

  static async start(name: GuestName): Promise<GuestByHand> {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await tempDir());
    const targets = await copyAll(await guestDisks(name), folder.path, "target");
    const uris: string[] = [];
    for (const [index, file] of targets.entries()) {
      const exports = [{ name: "volume", file }];
      const server =
        index === 0
          ? await startNbdServer({ folder: folder.path, exports })
          : await startQemuNbd({ file });
      uris.push(stack.use(server).uri);
    }
    return new GuestByHand(name, folder.path, targets, uris, stack.move());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  /** A program that commands find before any other of that name; HERE is its folder. */
  async standIn(name: string, script: string): Promise<void> {
    await writeStandIn(join(this.folder, "bin"), name, script);
  }

  /** A command on its targets, with the firmware and the card that it had. */
  async command(command: string, ...more: string[]): Promise<CliResult> {
    const { firmware, mac, address } = recipes[this.name];
    const machine = ["--firmware", firmware, "--mac", `${mac}=${address}`];
    const args = [
      command,
      ...this.#uris.flatMap((uri) => ["--disk", uri]),
      ...(command === "rollback" ? [] : machine),
      ...["--state-dir", join(this.folder, "state"), "--json", ...more],
    ];
    const path = `${join(this.folder, "bin")}:${process.env.PATH}`;
    return await startCli({ args, env: { TMPDIR: this.folder, PATH: path } }).result;
  }

  /** The document of one that has to succeed. */
  async run(command: string, ...more: string[]) {
    const { code, stdout, stderr } = await this.command(command, ...more);
    assert.equal(code, 0, `${command}: ${stderr}`);
    return JSON.parse(stdout);
  }

  /** Copies of the targets as they now are, to be started. */
  async copies(): Promise<{ path: string }[]> {
    return (await copyAll(this.#targets, this.folder, "started")).map((path) => ({ path }));
  }

  async digests(): Promise<string[]> {
    return await Promise.all(this.#targets.map(digestOfFile));
  }
}

async function copyAll(files: readonly string[], folder: string, name: string): Promise<string[]> {
  const to = files.map((_, index) => join(folder, `${name}-${index}.raw`));
  for (const [index, file] of files.entries()) {
    await copyFile(file, to[index]!, constants.COPYFILE_FICLONE);
  }
  return to;
}
