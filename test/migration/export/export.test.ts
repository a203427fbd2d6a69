// `migratekit export`, with QEMU's storage daemon, the laboratory's CloudStack and clients that nobody here wrote.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { promisify } from "node:util";
import { pino } from "pino";
import { CloudStack } from "../../../src/cloudstack/cloudstack.ts";
import { volumeTags } from "../../../src/migration/volumes/plan.ts";
import { Secret } from "../../../src/secret.ts";
import { writeStandIn } from "../../guest/stand-in.ts";
import { type CloudStackLab, seedNames, startCloudStack } from "../../lab/cloudstack/cloudstack.ts";
import { startExporter } from "../../lab/exporter.ts";
import { findFreePort } from "../../lab/ports.ts";
import { startCli } from "../../lab/run-cli.ts";
import { tempDir } from "../../temp-dir.ts";
import { until } from "../../until.ts";
import { makeTls } from "./tls.ts";

const run = promisify(execFile);

function clientOf(lab: CloudStackLab): CloudStack {
  const { apiKey, secretKey } = lab.account();
  return new CloudStack(
    {
      ...{ endpoint: lab.url, pollMs: 5 },
      ...{ apiKey: new Secret(apiKey), secretKey: new Secret(secretKey) },
    },
    { logger: pino({ level: "silent" }) },
  );
}

/** A volume at the appliance; marked unless `tags` says otherwise. */
async function attached(
  lab: CloudStackLab,
  name: string,
  tags: Record<string, string> = { [volumeTags.disk]: `test/${name}` },
): Promise<string> {
  const cloud = clientOf(lab);
  const { id } = await cloud.createVolume({
    ...{ name, sizeGiB: 1, zoneId: (await cloud.zone()).id, tags },
    diskOfferingId: (await cloud.diskOffering(seedNames.diskOffering)).id,
  });
  await cloud.attachVolume(id, lab.appliance.id);
  return id;
}

/** The names of a server's exports, as nbdinfo lists them. */
async function exportsAt(port: number): Promise<string[]> {
  const { stdout } = await run("nbdinfo", ["--list", "--json", `nbd://127.0.0.1:${port}`]).catch(
    (error: { stdout: string; stderr: string }) => {
      // A server without an export: nbdinfo finds nothing to show.
      if (!/no export|server does not support/i.test(error.stderr ?? "")) throw error;
      return { stdout: '{"exports":[]}' };
    },
  );
  const list = JSON.parse(stdout) as { exports: { "export-name": string }[] };
  return list.exports.map((each) => each["export-name"]).toSorted();
}

/** Storage daemons of ours that live: by the socket in their command line. */
function daemonsOf(stateDir: string): number[] {
  return readdirSync("/proc")
    .filter((name) => {
      if (!/^\d+$/.test(name)) return false;
      try {
        const line = readFileSync(`/proc/${name}/cmdline`, "utf8");
        return line.startsWith("qemu-storage-daemon") && line.includes(stateDir);
      } catch {
        return false;
      }
    })
    .map(Number);
}

test("marked volumes are exported under their ids, writable, with flush, and hold what is written", async () => {
  await using lab = await startCloudStack({ boots: false });
  await using dir = await tempDir();
  const first = await attached(lab, "first");
  const unmarked = await attached(lab, "somebody else's", {});
  await using exporter = await startExporter(lab, { stateDir: dir.path });
  await until("the first is exported", async () =>
    (await exportsAt(exporter.port)).includes(first),
  );
  const second = await attached(lab, "second");
  await until("the second as well", async () => (await exportsAt(exporter.port)).includes(second));
  assert.deepEqual(await exportsAt(exporter.port), [first, second].toSorted());
  assert.ok(!(await exportsAt(exporter.port)).includes(unmarked));
  const info = JSON.parse((await run("nbdinfo", ["--json", exporter.uriOf(first)])).stdout)
    .exports[0];
  assert.equal(info["export-size"], 1 << 30);
  assert.deepEqual(
    [info.is_read_only, info.can_flush, info.can_fua, info.can_trim, info.can_zero],
    [false, true, true, true, true],
  );
  await run("qemu-io", [
    "-f",
    "raw",
    "-c",
    "write -P 0x5a 4096 8192",
    "-c",
    "flush",
    exporter.uriOf(first),
  ]);
  const written = readFileSync(lab.volumeFile(first)).subarray(4096, 4096 + 8192);
  assert.ok(written.every((byte) => byte === 0x5a));
});

test("an export ends when its device goes, although a client is connected, and the detach is not held up", async () => {
  await using lab = await startCloudStack({ boots: false });
  await using dir = await tempDir();
  const [first, second] = [await attached(lab, "first"), await attached(lab, "second")];
  await using exporter = await startExporter(lab, { stateDir: dir.path });
  await until("both are exported", async () => (await exportsAt(exporter.port)).length === 2);
  const client = execFile("qemu-io", ["-f", "raw", exporter.uriOf(first)]); // waits for commands
  await until("the client is connected", () => connectionsAt(exporter.port) > 0);
  const cloud = clientOf(lab);
  assert.equal((await cloud.detachVolume(first)).instanceId, undefined);
  assert.deepEqual(await exportsAt(exporter.port), [second]);
  client.kill();
  await cloud.attachVolume(first, lab.appliance.id);
  await until("it is back", async () => (await exportsAt(exporter.port)).length === 2);
  assert.deepEqual(lab.violations, []);
});

function connectionsAt(port: number): number {
  const hex = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const lines = readFileSync("/proc/net/tcp", "utf8").split("\n").slice(1);
  return lines.filter((line) => {
    const [, local, , state] = line.trim().split(/\s+/);
    return local?.endsWith(hex) && state === "01";
  }).length;
}

test("after kill -9 no server is left, and the next start exports all again at the same port", async () => {
  await using lab = await startCloudStack({ boots: false });
  await using dir = await tempDir();
  const id = await attached(lab, "first");
  const killed = await startExporter(lab, { stateDir: dir.path });
  await until("it is exported", async () => (await exportsAt(killed.port)).length === 1);
  assert.equal(daemonsOf(dir.path).length, 1);
  await killed.kill("SIGKILL");
  await until("the server is gone with it", () => daemonsOf(dir.path).length === 0);
  await using next = await startExporter(lab, { stateDir: dir.path, port: killed.port });
  await until("it is exported again", async () => (await exportsAt(next.port)).length === 1);
  assert.deepEqual(await exportsAt(next.port), [id]);
});

test("a signal ends it by that signal with all that it started; a dead server ends it with an error", async () => {
  await using lab = await startCloudStack({ boots: false });
  await using dir = await tempDir();
  const stopped = await startExporter(lab, { stateDir: dir.path });
  assert.equal((await stopped.kill("SIGTERM")).signal, "SIGTERM");
  assert.deepEqual(daemonsOf(dir.path), []);
  const bereft = await startExporter(lab, { stateDir: dir.path });
  process.kill(daemonsOf(dir.path)[0]!, "SIGKILL");
  const { code, stderr } = await bereft.result;
  assert.equal(code, 5, stderr);
  assert.match(stderr, /\[export-failed\]: the NBD server ended: SIGKILL/);
});

test("a server that cannot start is told of in its own words, also where they come after its end", async () => {
  await using folder = await tempDir();
  await writeStandIn(folder.path, "setpriv", "(sleep 0.3; echo the last word >&2) & exit 3");
  const { result } = startCli({
    args: ["export", "--export-volumes", randomUUID(), "--state-dir", folder.path],
    env: { PATH: `${folder.path}:${process.env.PATH}` },
  });
  const { code, stderr } = await result;
  assert.equal(code, 5, stderr);
  assert.match(stderr, /\[export-failed\].*did not start: exit code 3: the last word/);
});

test("a second process for one state directory is refused, and leaves the first alone", async () => {
  await using lab = await startCloudStack({ boots: false });
  await using dir = await tempDir();
  await using first = await startExporter(lab, { stateDir: dir.path });
  await assert.rejects(
    startExporter(lab, { stateDir: dir.path }),
    /ended with 7: .*another 'migratekit export'/s,
  );
  assert.equal(daemonsOf(dir.path).length, 1);
  await exportsAt(first.port);
});

test("an API that is away keeps nothing from being exported that was, nor from being dropped", async () => {
  await using lab = await startCloudStack({ boots: false });
  await using dir = await tempDir();
  const id = await attached(lab, "first");
  await using exporter = await startExporter(lab, { stateDir: dir.path });
  await until("it is exported", async () => (await exportsAt(exporter.port)).length === 1);
  const cloud = clientOf(lab);
  lab.faults.add({ name: "http503", command: "listVirtualMachines" });
  await attached(lab, "second"); // which nobody can ask about
  await cloud.detachVolume(id);
  assert.deepEqual(await exportsAt(exporter.port), []);
});

test("volumes that are given are exported without asking CloudStack", async () => {
  await using lab = await startCloudStack({ boots: false });
  await using dir = await tempDir();
  const id = await attached(lab, "given", {});
  lab.calls.clear();
  await using exporter = await startExporter(lab, {
    ...{ stateDir: dir.path, args: ["--export-volumes", `${randomUUID()},${id}`] },
  });
  await until("it is exported", async () => (await exportsAt(exporter.port)).length === 1);
  assert.deepEqual(await exportsAt(exporter.port), [id]);
  assert.equal(lab.calls.count - lab.calls.calls.length, lab.calls.count);
  assert.deepEqual(lab.calls.commands(), []);
});

test("with certificates only clients of the authority are served, and without them nobody from elsewhere", async () => {
  await using lab = await startCloudStack({ boots: false });
  await using dir = await tempDir();
  const id = await attached(lab, "first");
  const tls = await makeTls(dir.path);
  const port = await findFreePort();
  await using exporter = await startExporter(lab, {
    ...{ stateDir: dir.path, port },
    args: ["--export-volumes", id, "--listen-tls-certificates", tls.server],
  });
  const uri = (certificates: string) =>
    `nbds://localhost:${exporter.port}/${id}?tls-certificates=${certificates}`;
  await until("it is exported", async () => {
    const asked = run("nbdinfo", ["--size", uri(tls.client)]);
    return (await asked.catch(() => ({ stdout: "" }))).stdout === `${1 << 30}\n`;
  });
  await assert.rejects(run("nbdinfo", ["--size", uri(tls.stranger)]));
  await assert.rejects(run("nbdinfo", ["--size", exporter.uriOf(id)]));
  const open = startCli({
    args: ["export", "--listen", "0.0.0.0:10809", "--export-volumes", id, "--state-dir", dir.path],
  });
  const { code, stderr } = await open.result;
  assert.equal(code, 2);
  assert.match(stderr, /--listen 0\.0\.0\.0:10809 would let everybody there read and write/);
});
