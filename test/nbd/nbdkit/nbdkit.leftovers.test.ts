import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { access, mkdir, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { removeNbdkitLeftovers } from "../../../src/nbd/nbdkit/leftovers.ts";
import { startNbdkit } from "../../../src/nbd/nbdkit/nbdkit.ts";
import { makeWorkspace } from "../../../src/nbd/nbdkit/workspace.ts";
import { isRunning } from "../../lab/process-table.ts";
import { until } from "../../until.ts";
import { makeVddkFixture, recordingLogger, run, Scratch } from "../vddk-fixture.ts";

const sources = join(import.meta.dirname, "../../../src/nbd/nbdkit");
const { logger } = recordingLogger();

test("nbdkit dies with a parent that is killed, and the next start removes its directory", async () => {
  await using fixture = await makeVddkFixture();
  const { scratch, log, source } = fixture;
  const parent = await startParent(scratch.dir, source);
  process.kill(parent.pid, "SIGKILL");
  await parent.ended;
  await until("the end of nbdkit", () => !isRunning(parent.nbdkitPid));
  await access(parent.dir);
  await using _next = await startNbdkit(source, { logger: log.logger, tempDir: scratch.dir });
  await assert.rejects(access(parent.dir), { code: "ENOENT" });
});

test("an nbdkit that hangs in a read when its parent is killed is ended by the next run", async () => {
  await using fixture = await makeVddkFixture();
  const { scratch, log, source } = fixture;
  await fixture.lab.setFaults({ hang_after: 0, hang_after_count: 1_000 });
  const parent = await startParent(scratch.dir, source);
  const reader = run("nbdcopy", [parent.uri, "null:"]);
  reader.catch(() => {});
  await until("a read that hangs", () => existsSync(join(scratch.dir, "vddk/used.hang_after")));
  process.kill(parent.pid, "SIGKILL");
  await parent.ended;
  await removeNbdkitLeftovers(log.logger, scratch.dir);
  await until("the end of nbdkit", () => !isRunning(parent.nbdkitPid));
  await assert.rejects(access(parent.dir), { code: "ENOENT" });
  await assert.rejects(reader);
});

test("only directories of makers that have ended are removed, and never through a symlink", async () => {
  await using scratch = await Scratch.make();
  const path = (name: string) => join(scratch.dir, name);
  const living = await makeWorkspace(scratch.dir);
  const dead = await deadWorkspace(scratch.dir);
  const link = path("migratekit-nbdkit-4194303-AbCdEg");
  await mkdir(path("precious"));
  await writeFile(path("precious/file"), "");
  await symlink(path("precious"), link);
  await mkdir(path("migratekit-nbdkit-notours"));
  await mkdir(path("migratekit-nbdkit-4194303-BeiNgM"));
  assert.deepEqual(await removeNbdkitLeftovers(logger, scratch.dir), [dead]);
  await assert.rejects(access(dead), { code: "ENOENT" });
  for (const kept of [
    living.dir,
    link,
    path("precious/file"),
    path("migratekit-nbdkit-notours"),
    path("migratekit-nbdkit-4194303-BeiNgM"), // without a mark, and new: somebody is making it
  ]) {
    await access(kept);
  }
  await living.remove();
  await run("rm", ["-r", link, path("migratekit-nbdkit-notours")]);
  await run("rm", ["-r", path("migratekit-nbdkit-4194303-BeiNgM")]);
});

test("a directory whose maker's PID is another process's by now is removed all the same", async () => {
  await using scratch = await Scratch.make();
  const dead = await deadWorkspace(scratch.dir);
  const reused = join(scratch.dir, `migratekit-nbdkit-${process.pid}-AbCdEf`);
  await run("mv", [dead, reused]);
  assert.deepEqual(await removeNbdkitLeftovers(logger, scratch.dir), [reused]);
});

test("an old directory without a mark, as older versions made it, is removed unless it is served", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch } = fixture;
  await using nbdkit = await startNbdkit(source, { logger, tempDir: scratch.dir });
  const served = join(new URL(nbdkit.uri).searchParams.get("socket") ?? "", "..");
  await run("rm", [join(served, "owner")]);
  const old = join(scratch.dir, "migratekit-nbdkit-4194303-AbCdEf");
  await mkdir(old);
  const longAgo = new Date(Date.now() - 2 * 3_600_000);
  for (const dir of [old, served]) await utimes(dir, longAgo, longAgo);
  assert.deepEqual(await removeNbdkitLeftovers(logger, scratch.dir), [old]);
  await access(served);
  assert.ok(isRunning(nbdkit.pid));
});

const namespace = ["unshare", ...(process.getuid?.() === 0 ? [] : ["--map-root-user"])];

test("a run in a container leaves a living run's directory alone, whose process it cannot see", async () => {
  await using scratch = await Scratch.make();
  const living = await makeWorkspace(scratch.dir);
  const dead = await deadWorkspace(scratch.dir);
  const script = `
    import { pino } from "pino";
    import { removeNbdkitLeftovers } from "${sources}/leftovers.ts";
    const logger = pino({ level: "silent" });
    console.log(JSON.stringify(await removeNbdkitLeftovers(logger, ${JSON.stringify(scratch.dir)})));
  `;
  const { stdout } = await run("unshare", [
    ...[...namespace.slice(1), "--pid", "--fork", "--mount-proc"],
    ...[process.execPath, "--input-type=module", "-e", script],
  ]);
  assert.deepEqual(JSON.parse(stdout), [dead]);
  await access(living.dir);
  await living.remove();
});

test("a container's directory is left alone while its run lives, at rest too, and removed once it has ended", async () => {
  await using fixture = await makeVddkFixture();
  const { scratch, source } = fixture;
  const within = [...namespace, "--pid", "--fork", "--kill-child", "--mount-proc"];
  const parent = await startParent(scratch.dir, source, { within, atRest: true });
  assert.deepEqual(await removeNbdkitLeftovers(logger, scratch.dir), []);
  await access(parent.dir);
  process.kill(parent.pid, "SIGKILL");
  await until("the end of the container", async () =>
    (await removeNbdkitLeftovers(logger, scratch.dir)).includes(parent.dir),
  );
});

/** What a run leaves that is killed right after it made its directory. */
async function deadWorkspace(tempDir: string): Promise<string> {
  const script = `
    import { makeWorkspace } from "${sources}/workspace.ts";
    console.log((await makeWorkspace(${JSON.stringify(tempDir)})).dir);
    process.kill(process.pid, "SIGKILL");
  `;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = await once(createInterface(child.stdout), "line");
  await until("its end", () => child.signalCode === "SIGKILL");
  return line;
}

/** Another Node process that starts an nbdkit and then does nothing, so that it can be killed. */
async function startParent(
  tempDir: string,
  source: object,
  { within = [], atRest = false }: { within?: string[]; atRest?: boolean } = {},
) {
  const script = `
    import { pino } from "pino";
    import { startNbdkit } from "${sources}/nbdkit.ts";
    const source = JSON.parse(await new Response(process.stdin).text());
    const logger = pino({ level: "silent" });
    const nbdkit = await startNbdkit(source, { logger, tempDir: ${JSON.stringify(tempDir)} });
    if (${atRest}) await nbdkit.rest();
    console.log(JSON.stringify({ nbdkitPid: nbdkit.pid, uri: nbdkit.uri }));
    setInterval(() => {}, 1000);
  `;
  const command = [...within, process.execPath, "--input-type=module", "-e", script];
  const child = spawn(command[0]!, command.slice(1), {
    stdio: ["pipe", "pipe", "inherit"],
  });
  /** Of all its threads: until then its descriptors, the mark among them, are open. */
  const ended = once(child, "exit");
  child.stdin.end(JSON.stringify(source));
  const [line] = await once(createInterface(child.stdout), "line");
  const { nbdkitPid, uri } = JSON.parse(line) as { nbdkitPid: number; uri: string };
  const socketPath = new URL(uri).searchParams.get("socket") ?? "";
  return { pid: child.pid!, ended, nbdkitPid, uri, dir: join(socketPath, "..") };
}
