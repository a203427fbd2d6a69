// A disk laid out as a distribution does it, without the distribution: in the real libguestfs, started once.

import { execFile, spawnSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { makeWorkFolder } from "../../src/guest/guest.ts";
import { Guestfish } from "../../src/guest/guestfish/guestfish.ts";
import { createLogger } from "../../src/logger.ts";
import { tempDir } from "../temp-dir.ts";

export const logger = createLogger({ level: "silent", pretty: false });

export class Layout implements AsyncDisposable {
  readonly guestfish: Guestfish;
  readonly #folder: string;
  readonly #stack: AsyncDisposableStack;

  private constructor(guestfish: Guestfish, folder: string, stack: AsyncDisposableStack) {
    this.guestfish = guestfish;
    this.#folder = folder;
    this.#stack = stack;
  }

  static async open(size: string): Promise<Layout> {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await tempDir());
    const work = stack.use(await makeWorkFolder({ logger, parent: folder.path }));
    const path = join(folder.path, "disk.qcow2");
    await promisify(execFile)("qemu-img", ["create", "-q", "-f", "qcow2", path, size]);
    const { signal } = new AbortController();
    const overlay = { disk: { diskId: "disk-2000", uri: "nbd://h/x", capacityBytes: 1 }, path };
    const options = { work, logger, signal, forceTcg: true };
    const guestfish = stack.use(await Guestfish.open([overlay], options));
    return new Layout(guestfish, folder.path, stack.move());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  /** A command of guestfish whose words have no spaces. */
  run(line: string): Promise<string> {
    return this.guestfish.run(...(line.split(" ") as [string, ...string[]]));
  }

  async uuid(device: string): Promise<string> {
    return (await this.run(`vfs-uuid ${device}`)).trim();
  }

  async write(files: Readonly<Record<string, string>>): Promise<void> {
    for (const [name, content] of Object.entries(files)) {
      await this.run(`mkdir-p ${dirname(name)}`);
      await this.guestfish.writeFile(name, content);
    }
  }

  /** An initial RAM disk with these files, each empty, packed by this program. */
  async writeInitrd(path: string, names: readonly string[], packer: readonly string[] = ["cat"]) {
    for (const name of names) {
      await mkdir(dirname(join(this.#folder, name)), { recursive: true });
      await writeFile(join(this.#folder, name), "");
    }
    const input = `${names.join("\n")}\n`;
    const cwd = this.#folder;
    const { stdout } = spawnSync("cpio", ["-o", "-H", "newc", "--quiet"], { cwd, input });
    const [program = "", ...args] = packer;
    const local = join(this.#folder, "initrd.img");
    await writeFile(local, spawnSync(program, args, { input: stdout }).stdout);
    await this.run(`upload ${local} ${path}`);
  }
}
