import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { promisify } from "node:util";
import type { GuestDisk } from "../../src/guest/machine.ts";
import { makeOverlays } from "../../src/guest/overlays/overlays.ts";
import { processesOf } from "../../src/guest/work/processes.ts";
import { makeWorkFolder } from "../../src/guest/work/work.ts";
import { createLogger } from "../../src/logger.ts";
import { isRunning } from "../lab/process-table.ts";
import { createVolume, startNbdkit, startNbdServer, startQemuNbd } from "../lab/targets.ts";
import { tempDir } from "../temp-dir.ts";
import { until } from "../until.ts";

const run = promisify(execFile);
const logger = createLogger({ level: "silent", pretty: false });
const options = { logger };
const mib = 1024 * 1024;

const diskAt = (uri: string, capacityBytes = 8 * mib): GuestDisk => ({
  diskId: "disk-2000",
  uri,
  capacityBytes,
});
const digest = async (path: string) =>
  createHash("sha256")
    .update(await readFile(path))
    .digest("hex");

async function folderWithVolume(t: TestContext) {
  const folder = await tempDir();
  t.after(() => folder[Symbol.asyncDispose]());
  const volume = join(folder.path, "volume.img");
  await createVolume(volume, 8 * mib);
  await run("qemu-io", ["-f", "raw", "-c", "write -P 0x5a 1M 2M", volume]);
  return { folder: folder.path, volume };
}

/** Reads through the overlay what the volume holds, writes over it, and reads that. */
async function readAndWrite(overlay: string) {
  const commands = ["read -P 0x5a 1M 2M", "write -P 0x11 1M 1M", "read -P 0x11 1M 1M"];
  for (const command of commands) {
    const { stdout } = await run("qemu-io", ["-f", "qcow2", "-c", command, overlay]);
    assert.doesNotMatch(stdout, /verification failed/i, command);
  }
}

test("what is written to an overlay is read back from it, the target stays as it was, and the undo removes all", async (t) => {
  const { folder, volume } = await folderWithVolume(t);
  await using server = await startNbdServer({ folder, exports: [{ name: "v 1", file: volume }] });
  const before = await digest(volume);
  await using work = await makeWorkFolder({ logger, parent: folder });
  const [overlay] = await makeOverlays([diskAt(server.uri)], work, options);
  assert.ok(overlay);
  await readAndWrite(overlay.path);
  assert.equal(await digest(volume), before);
  await work[Symbol.asyncDispose]();
  assert.equal(existsSync(work.path), false);
});

test("a target at a Unix socket is read without a bridge", async (t) => {
  const { folder, volume } = await folderWithVolume(t);
  await using server = await startQemuNbd({ file: volume, socket: join(folder, "a b.sock") });
  await using work = await makeWorkFolder({ logger, parent: folder });
  const [overlay] = await makeOverlays([diskAt(server.uri)], work, options);
  assert.ok(overlay);
  await readAndWrite(overlay.path);
  assert.deepEqual(await processesOf(work.path), []);
});

test("a target that speaks TLS is read through a local bridge, which ends with the work folder", async (t) => {
  const { folder, volume } = await folderWithVolume(t);
  const psk = join(folder, "keys.psk");
  await writeFile(psk, `alice:${"5b".repeat(32)}\n`, { mode: 0o600 });
  const serverTls = ["--tls=require", `--tls-psk=${psk}`];
  await using server = await startNbdkit([...serverTls, "file", volume]);
  await using work = await makeWorkFolder({ logger, parent: folder });
  const before = await digest(volume);
  const disk = diskAt(`nbds://alice@127.0.0.1:${server.port}/`);
  await assert.rejects(makeOverlays([disk], work, options), {
    message: /nothing was given to check nbds:.* by/,
  });
  const tls = { tlsPskFile: psk };
  const [overlay] = await makeOverlays([disk], work, { ...options, tls });
  assert.ok(overlay);
  await readAndWrite(overlay.path);
  const bridges = await processesOf(work.path);
  assert.equal(bridges.length, 1);
  await work[Symbol.asyncDispose]();
  assert.deepEqual(bridges.filter(isRunning), []);
  assert.equal(await digest(volume), before);
});

test("a server that QEMU does not get on with is read through a bridge", async (t) => {
  const { folder, volume } = await folderWithVolume(t);
  // The old handshake knows no export names; QEMU refuses it then, libnbd does not mind.
  await using server = await startNbdkit(["-o", "file", volume]);
  await using work = await makeWorkFolder({ logger, parent: folder });
  const [overlay] = await makeOverlays([diskAt(server.uriOf("volume"))], work, options);
  assert.ok(overlay);
  await readAndWrite(overlay.path);
  assert.equal((await processesOf(work.path)).length, 1);
});

test("a target that is not there, or is too small, is named", async (t) => {
  const { folder, volume } = await folderWithVolume(t);
  await using work = await makeWorkFolder({ logger, parent: folder });
  await using server = await startQemuNbd({ file: volume, exportName: "v" });
  await assert.rejects(makeOverlays([diskAt(server.uri, 8 * mib + 512)], work, options), {
    code: "target-too-small",
    message: /127\.0\.0\.1:\d+\/v has 8388608 bytes, disk-2000 has 8389120/,
  });
  await assert.rejects(makeOverlays([diskAt(server.uriOf("w"))], work, options), {
    code: "target-unreachable",
    message: /the target of disk-2000, nbd:\/\/127\.0\.0\.1:\d+\/w, cannot be opened/,
  });
});

test("what a conversion left that was killed is found and cleared by the next, and a living one is left alone", async (t) => {
  const { folder, volume } = await folderWithVolume(t);
  await using server = await startNbdServer({ folder, exports: [{ name: "v", file: volume }] });
  await using living = await makeWorkFolder({ logger, parent: folder });
  const script = join(import.meta.dirname, "fixtures/killed-conversion.ts");
  const child = spawn(process.execPath, [script, folder, server.uri], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = await once(child.stdout.setEncoding("utf8"), "data");
  const left = JSON.parse(String(line)) as { folder: string; pids: number[] };
  assert.equal(left.pids.length, 2);
  await until("it is dead", () => child.signalCode === "SIGKILL");
  assert.ok(left.pids.some(isRunning), "the program that ignores SIGTERM runs on");
  await using next = await makeWorkFolder({ logger, parent: folder });
  assert.deepEqual(left.pids.filter(isRunning), []);
  const folders = (await readdir(folder)).filter((name) => name.startsWith("mk-guest-"));
  const expected = [living.path, next.path].map((path) => path.slice(folder.length + 1));
  assert.deepEqual(folders.sort(), expected.sort());
});

test("a folder whose path is too long for sockets is refused with what would fix it", async () => {
  await using folder = await tempDir();
  const parent = join(folder.path, "x".repeat(60));
  await assert.rejects(makeWorkFolder({ logger, parent }), {
    code: "work-folder-unusable",
    remedy: /Set TMPDIR/,
  });
  await assert.rejects(makeWorkFolder({ logger, parent: join(folder.path, "none") }), {
    code: "work-folder-unusable",
    message: /no private folder could be made in .*none/,
  });
});

test("every variable that programs get is one of those that they need", async () => {
  await using folder = await tempDir();
  await using work = await makeWorkFolder({ logger, parent: folder.path });
  const child = spawn("sleep", ["60"], { env: work.env, detached: true });
  const names = readFileSync(`/proc/${child.pid}/environ`, "utf8").split("\0");
  const unknown = names.filter(
    (name) => !/^(PATH|LANG|HOME|TMPDIR|XDG_|VIRT_|LIBG|MIGR|$)/.test(name),
  );
  assert.deepEqual(unknown, []);
});
