import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { checkFileSystem } from "../../../src/state/database/file-system.ts";
import { State } from "../../../src/state/state.ts";
import { startNbdkit } from "../../lab/targets.ts";
import { until } from "../../until.ts";
import { refusal, temporaryDirectory } from "../helpers.ts";

/** A real file system of FUSE (nbdfuse) at `mountPoint`, until it is disposed of. */
async function mountFuse(mountPoint: string): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startNbdkit(["memory", "1M"]));
  mkdirSync(mountPoint, { mode: 0o700 });
  const fuse = spawn("nbdfuse", [`${mountPoint}/volume`, server.uriOf("")], { stdio: "ignore" });
  const ended = once(fuse, "exit");
  stack.defer(async () => {
    spawnSync("fusermount3", ["-u", "-z", mountPoint]);
    fuse.kill("SIGTERM");
    await ended;
  });
  const mounted = () => spawnSync("mountpoint", ["-q", mountPoint]).status === 0;
  await until("the file system is mounted", mounted);
  return stack.move();
}

test("a state directory on a file system that others may share is refused before anything is made", async (t) => {
  const mountPoint = join(temporaryDirectory(t), "fuse");
  await using _mounted = await mountFuse(mountPoint);
  for (const stateDir of [mountPoint, join(mountPoint, "not", "there")]) {
    const error = refusal(() => State.open(stateDir));
    assert.equal(error.exitCode, 6);
    assert.match(error.message, /is on fuse(\.nbdfuse)?, where locks may not keep/);
    assert.match(error.remedy, /--state-dir/);
  }
});

test("the disks and memory of this host are not", (t) => {
  for (const dir of [temporaryDirectory(t), "/dev/shm", join(temporaryDirectory(t), "a", "b")]) {
    checkFileSystem(dir);
  }
});
