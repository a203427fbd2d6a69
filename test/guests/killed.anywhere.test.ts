// kill -9 anywhere in a conversion by the real virt-v2v, and in the way back: while it converts, while the checks look,
// while the targets are written. The next command brings back what the target was, and clears what was left, the
// programs that virt-v2v had started included. A phony Windows, as its conversion takes seconds and not minutes.

import assert from "node:assert/strict";
import { once } from "node:events";
import { constants, readdirSync } from "node:fs";
import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { digestOfFile } from "../digest.ts";
import { startCli } from "../lab/run-cli.ts";
import { startQemuNbd } from "../lab/targets.ts";
import { Random } from "../random.ts";
import { tempDir } from "../temp-dir.ts";
import { processesOf } from "./processes.ts";
import { makeVirtioWin, makeVirtTools } from "./windows/drivers.ts";
import { phonyWindows } from "./windows/windows.ts";

const rounds = Number(process.env.MIGRATEKIT_KILLED_ROUNDS ?? 8);
/** What of a conversion is killed: anywhere, in its last moments, in the way back. */
const fates = ["anywhere", "anywhere", "writing", "rollback"] as const;

class Killable {
  readonly #folder: string;
  readonly #work: string;
  readonly #uri: string;
  readonly #env: Record<string, string>;
  readonly #more: readonly string[];

  constructor(folder: string, work: string, uri: string, virtioWin: string, virtTools: string) {
    this.#folder = folder;
    this.#work = work;
    this.#uri = uri;
    this.#env = { TMPDIR: work, VIRT_TOOLS_DATA_DIR: virtTools };
    this.#more = ["--firmware", "bios", "--virtio-win", virtioWin];
  }

  start(command: "convert" | "rollback", onStderrLine?: (line: string) => void) {
    const more = command === "convert" ? this.#more : [];
    const state = ["--state-dir", join(this.#folder, "state")];
    return startCli({
      args: [command, "--disk", this.#uri, ...state, "--json", ...more],
      env: this.#env,
      ...(onStderrLine && { onStderrLine }),
    });
  }

  /** Takes its time. */
  async whole(command: "convert" | "rollback"): Promise<number> {
    const startMs = performance.now();
    const { code, stderr } = await this.start(command).result;
    assert.equal(code, 0, stderr);
    return performance.now() - startMs;
  }

  /** Gives whether it was killed before it ended. */
  async killed(command: "convert" | "rollback", afterMs: number, word?: RegExp): Promise<boolean> {
    let heard = () => {};
    const told = new Promise<void>((resolve) => {
      heard = resolve;
    });
    const { child } = this.start(command, (line) => word?.test(line) && heard());
    const ended = once(child, "exit");
    if (word !== undefined) await Promise.race([told, ended]);
    await Promise.race([sleep(afterMs), ended]);
    child.kill("SIGKILL");
    await ended;
    return child.signalCode === "SIGKILL";
  }

  /** Whatever the last command left: the way back ends it. Says so where there was nothing to take back. */
  async bringBack(where: string): Promise<void> {
    const { code, stderr } = await this.start("rollback").result;
    assert.ok(code === 0 || (code === 2 && /\[not-converted\]/.test(stderr)), where + stderr);
    assert.deepEqual(processesOf(this.#work), [], where);
    assert.deepEqual(readdirSync(this.#work), [], where);
  }
}

test("conversions and ways back that are killed anywhere leave the target old once the next command has run, and nothing behind", async (t) => {
  await using folder = await tempDir();
  const target = join(folder.path, "target.raw");
  const work = join(folder.path, "work");
  await mkdir(work);
  const image = { release: "server-2022", firmware: "bios", state: "shut-down" } as const;
  await copyFile(await phonyWindows(image), target, constants.COPYFILE_FICLONE);
  const virtioWin = await makeVirtioWin(folder.path, ["2k22"]);
  const virtTools = await makeVirtTools(folder.path);
  await using server = await startQemuNbd({ file: target });
  const vm = new Killable(folder.path, work, server.uri, virtioWin, virtTools);
  const before = await digestOfFile(target);
  const seed = Number(process.env.MIGRATEKIT_KILLED_SEED ?? Date.now() % 100_000);
  t.diagnostic(`seed ${seed}`);
  const random = new Random(seed);
  const wholeMs = await vm.whole("convert");
  assert.notEqual(await digestOfFile(target), before);
  const backMs = await vm.whole("rollback");
  const killed = { anywhere: 0, writing: 0, rollback: 0 };
  for (let round = 0; round < rounds; round++) {
    const fate = fates[round % fates.length]!;
    const where = `round ${round}, ${fate}: `;
    let died: boolean;
    if (fate === "rollback") {
      await vm.whole("convert");
      died = await vm.killed("rollback", random.below(backMs));
    } else if (fate === "writing") {
      died = await vm.killed("convert", random.below(300), /writing to the targets/);
    } else {
      died = await vm.killed("convert", random.below(wholeMs));
    }
    if (died) killed[fate]++;
    await vm.bringBack(where);
    assert.equal(await digestOfFile(target), before, where);
  }
  t.diagnostic(`killed of ${rounds}: ${JSON.stringify(killed)}`);
  assert.ok(killed.anywhere > 0 && killed.writing + killed.rollback > 0, JSON.stringify(killed));
  await vm.whole("convert");
  assert.notEqual(await digestOfFile(target), before);
});
