import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { MigratekitError } from "../../../src/errors.ts";
import { explainEngineError } from "../../../src/migration/cycle/source.ts";
import { Engine, NbdError, probeExport } from "../../../src/nbd/copy-engine/copy-engine.ts";
import { startNbdkit } from "../../../src/nbd/nbdkit/nbdkit.ts";
import { createVolume, startQemuNbd } from "../../lab/targets.ts";
import { until } from "../../until.ts";
import { exportSize, makeVddkFixture, run } from "../vddk-fixture.ts";

const capacityBytes = 3 * 1024 * 1024 + 512;

test("the engine sees VDDK's limits and its allocation map", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch, log } = fixture;
  await using nbdkit = await startNbdkit(source, { logger: log.logger, tempDir: scratch.dir });
  const info = await probeExport({ uri: nbdkit.uri }, { side: "source" });
  assert.equal(info.sizeBytes, capacityBytes);
  assert.equal(info.minimumBlockBytes, 512);
  assert.equal(info.maximumBlockBytes, 2 * 1024 * 1024);
  assert.equal(info.canExtents, true);
  assert.equal(info.readOnly, true);
});

for (const [how, faults] of [
  ["crashes", { crash_after: 2, crash_after_count: 1 }],
  ["is killed", {}],
] as const) {
  test(`a copy goes on and ends exact when nbdkit ${how} in its midst`, async () => {
    await using fixture = await makeVddkFixture();
    const { source, scratch, log } = fixture;
    await fixture.lab.setFaults({ ...faults, delay_us: 20_000 });
    await using nbdkit = await startNbdkit(source, { logger: log.logger, tempDir: scratch.dir });
    const volume = join(scratch.dir, "target.raw");
    await createVolume(volume, capacityBytes);
    await using target = await startQemuNbd({ file: volume, exportName: "t" });
    using engine = new Engine();
    let toKill = how === "is killed";
    const result = await engine.copy({
      source: { uri: nbdkit.uri, connections: 2 },
      target: { uri: target.uriOf("t") },
      capacityBytes,
      requestBytes: 64 * 1024,
      onChunks: () => {
        if (toKill) process.kill(nbdkit.pid, "SIGKILL");
        toKill = false;
      },
    });
    assert.ok(result.retries > 0);
    await target.stop();
    await run("cmp", [volume, fixture.image]);
    assert.equal(log.lines.filter(({ msg }) => /starting it again/.test(msg)).length, 1);
  });
}

test("where the engine only hears of a missing export, nbdkit knows the cause", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch, log } = fixture;
  await fixture.nfc.stop();
  await using nbdkit = await startNbdkit(source, { logger: log.logger, tempDir: scratch.dir });
  const error = await failureOf(probeExport({ uri: nbdkit.uri }, { side: "source" }));
  assert.equal((await nbdkit.findRootCause(error))?.code, "source-unreachable");
});

for (const [vixError, code, said] of [
  [13, "source-login", "You do not have access rights to this file"],
  [1, "source-io", "Unknown error"],
  [16000, "source-io", "Unknown error"],
] as const) {
  test(`a copy that ends at a read which VDDK refuses says so, error ${vixError}, though the disk opened again`, async () => {
    await using fixture = await makeVddkFixture();
    const { source, scratch, log } = fixture;
    await fixture.lab.setFaults({ read_error_at: 1_048_576, read_error_code: vixError });
    await using nbdkit = await startNbdkit(source, { logger: log.logger, tempDir: scratch.dir });
    const volume = join(scratch.dir, "target.raw");
    await createVolume(volume, capacityBytes);
    await using target = await startQemuNbd({ file: volume, exportName: "t" });
    using engine = new Engine();
    const error = await failureOf(
      engine.copy({
        source: { uri: nbdkit.uri },
        target: { uri: target.uri },
        capacityBytes,
        retry: { attempts: 3, maxElapsedMs: 60_000 },
      }),
    );
    // As a connection more of the engine's does, between the last answer and the end of the run.
    const opened = () => log.lines.filter(({ msg }) => /transport mode: /.test(msg)).length;
    const before = opened();
    await exportSize(nbdkit.uri);
    await until("an open disk", () => opened() > before);
    const disk = { diskId: "disk-2000", target: { identity: target.uri } };
    const explained = await explainEngineError(error, disk, nbdkit);
    assert.ok(explained instanceof MigratekitError);
    assert.equal(explained.code, code);
    assert.ok(explained.message.includes(`asynchronous read failed: ${said}`), explained.message);
  });
}

async function failureOf(work: Promise<unknown>): Promise<NbdError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof NbdError, String(error));
  return error;
}
