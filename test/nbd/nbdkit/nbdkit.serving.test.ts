import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { startNbdkit } from "../../../src/nbd/nbdkit/nbdkit.ts";
import { until } from "../../until.ts";
import { exportSize, makeVddkFixture, run } from "../vddk-fixture.ts";

test("a disk of a snapshot is served byte for byte and nothing is left after stop", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch, log } = fixture;
  await using nbdkit = await startNbdkit(source, { logger: log.logger, tempDir: scratch.dir });
  const copy = join(scratch.dir, "copy.img");
  await run("nbdcopy", [nbdkit.uri, copy]);
  await run("cmp", [copy, fixture.image]);
  assert.equal(nbdkit.rootCause(), undefined);
  await nbdkit.stop();
  await nbdkit.stop();
  assert.throws(() => process.kill(nbdkit.pid, 0));
  assert.equal((await fixture.lab.readUse())[0]?.diskPath, source.diskPath);
});

test("the password is in no argument, environment, log line or file", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch, log } = fixture;
  await using nbdkit = await startNbdkit(source, { logger: log.logger, tempDir: scratch.dir });
  await exportSize(nbdkit.uri);
  for (const file of ["cmdline", "environ"]) {
    const text = await readFile(`/proc/${nbdkit.pid}/${file}`, "utf8");
    assert.ok(!text.includes("m4rk"), text);
  }
  assert.ok(!log.text().includes("m4rk"));
  const { stdout } = await run("find", [
    dirname(socketOf(nbdkit.uri)),
    ...["-type", "f", "-exec", "grep", "-l", "m4rk", "{}", ";"],
  ]);
  assert.equal(stdout, "");
});

test("the child sees only the environment that it needs", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch, log } = fixture;
  process.env.MIGRATEKIT_TEST_MARKER = "must not be inherited";
  await using nbdkit = await startNbdkit(source, { logger: log.logger, tempDir: scratch.dir });
  delete process.env.MIGRATEKIT_TEST_MARKER;
  const environment = await readFile(`/proc/${nbdkit.pid}/environ`, "utf8");
  const names = environment.split("\0").map((entry) => entry.split("=")[0]);
  // LD_LIBRARY_PATH is the plugin's own doing: it executes itself again with it.
  const allowed = ["PATH", "LANG", "HOME", "TMPDIR", "LD_LIBRARY_PATH", ""];
  assert.deepEqual(
    names.filter((name) => !allowed.includes(name ?? "")),
    [],
  );
});

test("the private directory and what is in it are closed to others", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch, log } = fixture;
  await using nbdkit = await startNbdkit(source, { logger: log.logger, tempDir: scratch.dir });
  const dir = dirname(socketOf(nbdkit.uri));
  assert.equal((await stat(dir)).mode & 0o777, 0o700);
  const config = join(dir, "vddk.conf");
  assert.equal((await stat(config)).mode & 0o777, 0o600);
  const text = await readFile(config, "utf8");
  assert.match(text, /^vixDiskLib\.nfcAio\.Session\.BufSizeIn64KB=16$/m);
  assert.match(text, /^vixDiskLib\.nfcAio\.Session\.BufCount=4$/m);
  assert.ok(text.includes(`tmpDirectory="${dir}"`));
});

test("the operator's own VDDK configuration is used, and refused by name when missing", async () => {
  await using fixture = await makeVddkFixture();
  const { scratch, log } = fixture;
  const configFile = join(scratch.dir, "own.conf");
  const source = { ...fixture.source, configFile };
  await assert.rejects(startNbdkit(source, { logger: log.logger, tempDir: scratch.dir }), {
    code: "usage",
    message: /own\.conf cannot be used/,
  });
  await writeFile(configFile, "vixDiskLib.transport.LogLevel=1\n");
  await using nbdkit = await startNbdkit(source, { logger: log.logger, tempDir: scratch.dir });
  const commandLine = await readFile(`/proc/${nbdkit.pid}/cmdline`, "utf8");
  assert.ok(commandLine.split("\0").includes(`config=${configFile}`));
});

test("clients are told VDDK's sector size and the 2 MiB that a vCenter can take", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch, log } = fixture;
  await using nbdkit = await startNbdkit(source, { logger: log.logger, tempDir: scratch.dir });
  const info = JSON.parse((await run("nbdinfo", ["--json", nbdkit.uri])).stdout);
  const { block_minimum, block_size_minimum, block_size_maximum, is_read_only } = info.exports[0];
  assert.equal(block_size_minimum ?? block_minimum, 512);
  assert.equal(block_size_maximum, 2 * 1024 * 1024);
  assert.equal(is_read_only, true);
});

for (const { transports, warnings, opens } of [
  { transports: "file:nbdssl:nbd", warnings: 1, opens: true },
  { transports: "nbd", warnings: 0, opens: true },
  { transports: "nbdssl", warnings: 0, opens: false },
]) {
  const said = opens ? `served, with ${warnings} warnings that it is in the clear` : "not served";
  test(`a host without nbdssl and --vddk-transports ${transports}: the disk is ${said}`, async () => {
    await using fixture = await makeVddkFixture();
    const { scratch, log } = fixture;
    await fixture.lab.setFaults({ no_nbdssl: 1 });
    const source = { ...fixture.source, transports };
    await using nbdkit = await startNbdkit(source, { logger: log.logger, tempDir: scratch.dir });
    if (opens) {
      for (const _ of [1, 2]) await exportSize(nbdkit.uri);
      await until("its words", () => log.text().match(/transport mode: nbd/g)?.length === 2);
    } else {
      await assert.rejects(exportSize(nbdkit.uri));
    }
    const told = log.lines.filter(({ level, msg }) => level === 40 && /unencrypted/.test(msg));
    assert.equal(told.length, warnings);
  });
}

test("waiting for nbdkit does not open the disk", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch, log } = fixture;
  await using _nbdkit = await startNbdkit(source, { logger: log.logger, tempDir: scratch.dir });
  assert.ok(!log.text().includes("VixDiskLib_Open"));
  assert.equal(fixture.nfc.connectionCount, 0);
});

test("an nbdkit whose read hangs is killed, and the directory is removed", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch, log } = fixture;
  await fixture.lab.setFaults({ hang_after: 0, hang_after_count: 1_000 });
  await using nbdkit = await startNbdkit(source, {
    logger: log.logger,
    tempDir: scratch.dir,
    stop: { termTimeoutMs: 300 },
  });
  const reader = run("nbdcopy", [nbdkit.uri, "null:"]);
  reader.catch(() => {});
  await until("a read that hangs", () => existsSync(join(scratch.dir, "vddk/used.hang_after")));
  await nbdkit.stop();
  assert.throws(() => process.kill(nbdkit.pid, 0));
  assert.ok(log.lines.some(({ msg }) => /did not end when asked to and was killed/.test(msg)));
  await assert.rejects(reader);
});

test("an abort during the start leaves nothing and rejects with the signal's reason", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch, log } = fixture;
  const reason = new Error("interrupted");
  for (const delayMs of [0, 5, 20, 60, 120]) {
    const abort = new AbortController();
    const started = startNbdkit(source, {
      logger: log.logger,
      tempDir: scratch.dir,
      signal: abort.signal,
    });
    setTimeout(() => abort.abort(reason), delayMs);
    await started.then(
      (nbdkit) => nbdkit.stop(),
      (error) => assert.equal(error, reason),
    );
  }
});

function socketOf(uri: string): string {
  return new URL(uri).searchParams.get("socket") ?? "";
}
