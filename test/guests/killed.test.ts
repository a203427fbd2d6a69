// kill -9 while the real virt-v2v is at work: the target is as it was, and the next command that looks into guests
// clears what was left, the programs that virt-v2v had started included.

import assert from "node:assert/strict";
import { once } from "node:events";
import { constants, readdirSync, readFileSync } from "node:fs";
import { copyFile, mkdir, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { digestOfFile } from "../digest.ts";
import { startCli } from "../lab/run-cli.ts";
import { startQemuNbd } from "../lab/targets.ts";
import { Random } from "../random.ts";
import { tempDir } from "../temp-dir.ts";
import { guestDisks } from "./debian/debian.ts";
import { processesOf } from "./processes.ts";

const kills = 3;

function startsAppliance(folder: string): boolean {
  return processesOf(folder).some((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("guestfs");
    } catch {
      return false;
    }
  });
}

test("what a killed conversion leaves is cleared by the next one, and the target is as it was", async (t) => {
  await using folder = await tempDir();
  const [guest, empty, work] = ["guest.raw", "empty.raw", "work"].map((name) =>
    join(folder.path, name),
  ) as [string, string, string];
  const stateDir = join(folder.path, "state");
  await mkdir(work);
  const [image] = await guestDisks("bios");
  await copyFile(image!, guest, constants.COPYFILE_FICLONE);
  await writeFile(empty, "");
  await truncate(empty, 64 << 20);
  await using target = await startQemuNbd({ file: guest });
  await using nothing = await startQemuNbd({ file: empty });
  const before = await digestOfFile(guest);
  const start = (command: string, uri: string) =>
    startCli({
      args: [command, "--disk", uri, "--firmware", "bios", "--state-dir", stateDir, "--json"],
      env: { TMPDIR: work },
    });
  const seed = Date.now() % 100_000;
  t.diagnostic(`seed ${seed}`);
  const random = new Random(seed);
  for (let round = 0; round < kills; round++) {
    const { child } = start("convert", target.uri);
    for (let seconds = 0; !startsAppliance(work); seconds++) {
      assert.ok(seconds < 180 && child.exitCode === null, "virt-v2v came to its appliance");
      await sleep(1000);
    }
    await sleep(random.below(20_000));
    child.kill("SIGKILL");
    await once(child, "exit");
    assert.equal(child.signalCode, "SIGKILL");
    const next = await start("rehearse", nothing.uri).result;
    assert.equal(next.code, 9, next.stderr);
    assert.deepEqual(processesOf(work), []);
    assert.deepEqual(readdirSync(work), []);
  }
  assert.equal(await digestOfFile(guest), before);
});
