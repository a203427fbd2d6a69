import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { accepts } from "../lab/process.ts";
import {
  createVolume,
  startNbdkitTarget,
  startNbdServer,
  startQemuNbd,
  startStunnelPair,
} from "../lab/targets.ts";
import { until } from "../until.ts";

const run = promisify(execFile);
let folder = "";
let source = "";
const capacityBytes = 8 * 1024 * 1024 + 1536;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "lab-targets-"));
  source = join(folder, "source.raw");
  await writeFile(source, Buffer.alloc(3 * 1024 * 1024, "real data"));
  await truncate(source, capacityBytes);
});

after(() => rm(folder, { recursive: true, force: true }));

async function copyAndCompare(uri: string, target: string): Promise<void> {
  await run("nbdcopy", ["--flush", source, uri]);
  await run("cmp", ["-n", String(capacityBytes), source, target]);
}

test("nbd-server serves one export per volume, with names that need encoding", async () => {
  const files = [join(folder, "a.raw"), join(folder, "b.raw")];
  for (const file of files) await createVolume(file, capacityBytes);
  await using server = await startNbdServer({
    folder,
    exports: [
      { name: "vol-a", file: files[0]! },
      { name: "vol b/2", file: files[1]! },
    ],
  });
  await copyAndCompare(server.uriOf("vol-a"), files[0]!);
  await copyAndCompare(server.uriOf("vol b/2"), files[1]!);
  const { stdout } = await run("nbdinfo", ["--json", server.uriOf("vol-a")]);
  assert.match(stdout, /"can_multi_conn": true/);
  assert.equal((await stat(files[0]!)).size, capacityBytes);
});

test("a read-only export refuses writers", async () => {
  const file = join(folder, "ro.raw");
  await createVolume(file, capacityBytes);
  await using server = await startNbdServer({
    folder,
    exports: [{ name: "ro", file, readOnly: true }],
  });
  await assert.rejects(run("nbdcopy", [source, server.uriOf("ro")]));
});

test("a stopped nbd-server leaves no process for a connection in progress", async () => {
  const file = join(folder, "busy.raw");
  await createVolume(file, capacityBytes);
  await using server = await startNbdServer({ folder, exports: [{ name: "busy", file }] });
  const bash = `exec 3<>/dev/tcp/127.0.0.1/${server.port}; head -c 8 <&3; read -r _ <&3; echo closed`;
  const client = spawn("bash", ["-c", bash], { stdio: ["ignore", "pipe", "inherit"] });
  await once(client.stdout, "data");
  const closed = once(client, "exit");
  await server.stop();
  await closed;
  assert.equal(await server.isRunning(), false);
  assert.equal(await accepts(server.port), false);
  await server.restart();
  await copyAndCompare(server.uriOf("busy"), file);
});

test("the stunnel pair carries NBD, can be cut and put back on the same port", async () => {
  const file = join(folder, "tunnel.raw");
  await createVolume(file, capacityBytes);
  await using server = await startNbdServer({ folder, exports: [{ name: "t", file }] });
  await using tunnel = await startStunnelPair({ folder, targetPort: server.port });
  const uri = tunnel.client.uriOf("t");
  await copyAndCompare(uri, file);
  await tunnel.kill();
  await assert.rejects(run("nbdinfo", ["--size", uri]));
  await tunnel.restart();
  await createVolume(file, capacityBytes);
  await server.restart();
  await copyAndCompare(uri, file);
});

test("qemu-nbd serves a named export to several connections, writable and read-only", async () => {
  const file = join(folder, "qemu.raw");
  await createVolume(file, capacityBytes);
  await using writable = await startQemuNbd({ file, exportName: "vol" });
  await copyAndCompare(writable.uriOf("vol"), file);
  const { stdout } = await run("nbdinfo", ["--json", writable.uriOf("vol")]);
  assert.match(stdout, /"can_multi_conn": true/);
  await writable.kill();
  await using readOnly = await startQemuNbd({ file, exportName: "vol", readOnly: true });
  await assert.rejects(run("nbdcopy", [source, readOnly.uriOf("vol")]));
});

test("an nbdkit target without zeroing writes down the requests that it got", async () => {
  const file = join(folder, "nbdkit.raw");
  const logFile = join(folder, "requests.log");
  await createVolume(file, capacityBytes);
  await using server = await startNbdkitTarget({
    file,
    filters: ["log", "nozero"],
    settings: [`logfile=${logFile}`, "zeromode=none"],
  });
  await copyAndCompare(server.uri, file);
  const log = await readFile(logFile, "utf8");
  assert.match(log, / Write .*offset=0x0 /);
  assert.doesNotMatch(log, / Zero /);
});

test("servers and folders of a process that is killed are removed by its guardian", async () => {
  const file = join(folder, "orphan.raw");
  const guarded = await mkdtemp(join(tmpdir(), "lab-guarded-"));
  await createVolume(file, capacityBytes);
  const script = `
    import { startNbdServer } from ${JSON.stringify(join(import.meta.dirname, "../lab/targets.ts"))};
    import { guardFolder } from ${JSON.stringify(join(import.meta.dirname, "../lab/process.ts"))};
    guardFolder(${JSON.stringify(guarded)});
    const server = await startNbdServer({ folder: ${JSON.stringify(guarded)},
      exports: [{ name: "o", file: ${JSON.stringify(file)} }] });
    console.log(server.port);
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  const port = Number(line.toString());
  assert.equal(await accepts(port), true);
  child.kill("SIGKILL");
  await until("nobody listens", async () => !(await accepts(port)));
  await until("the folder is gone", () =>
    stat(guarded).then(
      () => false,
      () => true,
    ),
  );
});
