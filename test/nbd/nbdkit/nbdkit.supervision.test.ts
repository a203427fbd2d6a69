import assert from "node:assert/strict";
import { rename, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { startNbdkit } from "../../../src/nbd/nbdkit/nbdkit.ts";
import { processesNaming } from "../../lab/process-table.ts";
import { until } from "../../until.ts";
import {
  anyInspection,
  exportSize,
  makeVddkFixture,
  fixture as program,
  run,
} from "../vddk-fixture.ts";

test("an nbdkit that was killed serves again on the same socket, with its password", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch, log } = fixture;
  await using nbdkit = await startNbdkit(source, { logger: log.logger, tempDir: scratch.dir });
  for (const signal of ["SIGKILL", "SIGABRT", "SIGTERM"] as const) {
    const before = nbdkit.pid;
    const { uri } = nbdkit;
    process.kill(before, signal);
    await until("another process", () => nbdkit.pid !== before);
    assert.equal(nbdkit.uri, uri);
    assert.equal(await exportSize(nbdkit.uri), 3 * 1024 * 1024 + 512);
  }
  const warnings = log.lines.filter(({ level }) => level === 40);
  assert.equal(warnings.length, 3);
  assert.match(warnings[0]?.msg ?? "", /nbdkit died \(SIGKILL\).*attempt 1 of 8/);
  assert.ok(!log.text().includes("m4rk"));
});

test("a library that crashes while reading costs a restart, not the export", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch, log } = fixture;
  await fixture.lab.setFaults({ crash_after: 1, crash_after_count: 1 });
  await using nbdkit = await startNbdkit(source, { logger: log.logger, tempDir: scratch.dir });
  const before = nbdkit.pid;
  await assert.rejects(run("nbdcopy", [nbdkit.uri, "null:"]));
  await until("another process", () => nbdkit.pid !== before);
  const copy = join(scratch.dir, "copy.img");
  await run("nbdcopy", [nbdkit.uri, copy]);
  await run("cmp", [copy, fixture.image]);
});

test("an nbdkit at rest is gone, stays gone, and serves again at the same socket once woken", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch, log } = fixture;
  const { signal } = new AbortController();
  await using nbdkit = await startNbdkit(source, { logger: log.logger, tempDir: scratch.dir });
  const { uri, pid } = nbdkit;
  for (const _ of [1, 2]) {
    await nbdkit.rest();
    assert.deepEqual(processesNaming(scratch.dir), []);
    await assert.rejects(exportSize(uri));
    await nbdkit.wake(signal);
    await nbdkit.wake(signal);
    assert.equal(processesNaming(scratch.dir).length, 1);
    assert.equal(await exportSize(uri), 3 * 1024 * 1024 + 512);
  }
  assert.equal(nbdkit.uri, uri);
  assert.notEqual(nbdkit.pid, pid);
  assert.equal(log.lines.filter(({ level }) => level >= 40).length, 0);
});

test("an nbdkit that is paused serves again when it is resumed, one that rests or was stopped stays gone", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch, log } = fixture;
  const { signal } = new AbortController();
  await using nbdkit = await startNbdkit(source, { logger: log.logger, tempDir: scratch.dir });
  await nbdkit.pause();
  await nbdkit.pause();
  assert.deepEqual(processesNaming(scratch.dir), []);
  await nbdkit.resume(signal);
  assert.equal(await exportSize(nbdkit.uri), 3 * 1024 * 1024 + 512);
  for (const end of [() => nbdkit.rest(), () => nbdkit.stop()]) {
    await nbdkit.wake(signal);
    await nbdkit.pause();
    await end();
    await nbdkit.resume(signal);
    await nbdkit.pause();
    await nbdkit.resume(signal);
    assert.deepEqual(processesNaming(scratch.dir), []);
  }
});

test("an nbdkit at rest leaves nothing when it is stopped, nor does one that is being woken", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch, log } = fixture;
  const { signal } = new AbortController();
  const nbdkit = await startNbdkit(source, { logger: log.logger, tempDir: scratch.dir });
  await nbdkit.rest();
  await nbdkit.stop();
  await assert.rejects(nbdkit.wake(signal), /stopped for good/);
  for (const delayMs of [0, 5, 40, 120]) {
    const other = await startNbdkit(source, { logger: log.logger, tempDir: scratch.dir });
    await other.rest();
    const waking = other.wake(signal).catch(() => {});
    await delay(delayMs);
    await other.stop();
    assert.deepEqual(processesNaming(scratch.dir), []);
    await waking;
  }
});

test("an nbdkit that cannot be woken says why", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch, log } = fixture;
  await using nbdkit = await startNbdkit(source, { logger: log.logger, tempDir: scratch.dir });
  await nbdkit.rest();
  await rm(join(fixture.lab.libdir, "lib64/libvixDiskLib.so.8"));
  await assert.rejects(nbdkit.wake(new AbortController().signal), { code: "vddk-library-missing" });
});

test("an nbdkit that does not come up when it is resumed is tried again", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch, log } = fixture;
  await using nbdkit = await startNbdkit(source, { logger: log.logger, tempDir: scratch.dir });
  await nbdkit.pause();
  const library = join(fixture.lab.libdir, "lib64/libvixDiskLib.so.8");
  await rename(library, `${library}.away`);
  await nbdkit.resume(new AbortController().signal);
  await rename(`${library}.away`, library);
  await until("it serves", () => exportSize(nbdkit.uri).catch(() => undefined));
});

test("an nbdkit that keeps dying is given up after the allowed number of restarts", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch, log } = fixture;
  await using nbdkit = await startNbdkit(source, {
    logger: log.logger,
    tempDir: scratch.dir,
    restartsMax: 2,
  });
  let last = 0;
  for (let deaths = 0; deaths < 3; deaths++) {
    await until("a process", () => nbdkit.pid !== last);
    last = nbdkit.pid;
    process.kill(last, "SIGKILL");
  }
  await until("giving up", () => nbdkit.rootCause());
  assert.equal(nbdkit.rootCause()?.code, "source-io");
  assert.match(nbdkit.rootCause()?.message ?? "", /nbdkit died 3 times in a row/);
  await assert.rejects(exportSize(nbdkit.uri));
});

test("a restart that fails each time is bounded, too", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch, log } = fixture;
  const nbdkitLink = join(scratch.dir, "nbdkit");
  await symlink("/usr/bin/nbdkit", nbdkitLink);
  await using nbdkit = await startNbdkit(
    { ...source, nbdkit: nbdkitLink },
    { logger: log.logger, tempDir: scratch.dir, restartsMax: 2 },
  );
  await run("ln", ["-sfn", program("exits-at-once.sh"), nbdkitLink]);
  process.kill(nbdkit.pid, "SIGKILL");
  await until("giving up", () => nbdkit.rootCause());
  assert.match(nbdkit.rootCause()?.message ?? "", /Address already in use/);
});

test("a stop while nbdkit waits to be started again starts nothing any more", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch, log } = fixture;
  for (const when of ["at once", "while waiting"]) {
    await using nbdkit = await startNbdkit(source, { logger: log.logger, tempDir: scratch.dir });
    const warningsBefore = log.text().split("starting it again").length;
    process.kill(nbdkit.pid, "SIGKILL");
    if (when === "while waiting") {
      await until("a warning", () => log.text().split("starting it again").length > warningsBefore);
    }
    await nbdkit.stop();
    assert.deepEqual(processesNaming(scratch.dir), []);
  }
});

test("stopping ends nbdkit in the time limit even when it ignores TERM", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch, log } = fixture;
  const abort = new AbortController();
  const starting = startNbdkit(
    { ...source, nbdkit: program("never-listens.sh") },
    { logger: log.logger, tempDir: scratch.dir, inspection: anyInspection, signal: abort.signal },
  );
  starting.catch(() => {});
  await until("its first words", () => log.text().includes("warming up"));
  abort.abort(new Error("interrupted"));
  await assert.rejects(starting, /interrupted/);
});
