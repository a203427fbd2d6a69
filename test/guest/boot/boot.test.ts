import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { bootGuest } from "../../../src/guest/boot/boot.ts";
import { processesOf } from "../../../src/guest/work/processes.ts";
import { makeWorkFolder } from "../../../src/guest/work/work.ts";
import { tempDir } from "../../temp-dir.ts";
import { until } from "../../until.ts";
import {
  bootHalting,
  conversionTo,
  disk,
  quietLogger as logger,
  optionsFor,
  overlayOver,
} from "./halting-guest.ts";

for (const firmware of ["bios", "uefi"] as const) {
  test(`a disk without a system does not boot with ${firmware}, and its picture is kept`, async () => {
    await using folder = await tempDir();
    await using work = await makeWorkFolder({ logger, parent: folder.path });
    const overlay = await overlayOver(Buffer.alloc(0), folder.path, work);
    const before = readFileSync(overlay.path);
    const screenshot = join(folder.path, "screen.png");
    const signs = await bootGuest(
      [overlay],
      conversionTo(firmware),
      optionsFor(work, { screenshot }),
    );
    assert.equal(signs.verdict, "will-not-boot");
    assert.match(signs.reason, /firmware found n/);
    assert.deepEqual(
      { ...signs, reason: "", consoleTail: [], accelerator: "", durationMs: 0, verdict: "" },
      {
        ...{ verdict: "", reason: "", accelerator: "", kernel: false, rootMounted: false },
        ...{ console: undefined, addresses: [], writtenBytes: 0, restarts: 0, consoleTail: [] },
        ...{ screenshot, durationMs: 0, bootMs: undefined },
      },
    );
    assert.equal(readFileSync(screenshot).toString("latin1", 1, 4), "PNG");
    assert.deepEqual(readFileSync(overlay.path), before, "the conversion's overlay is as it was");
    assert.deepEqual(await processesOf(work.path), []);
  });
}

test("a guest that only waits is given up when its time is over", async () => {
  await using folder = await tempDir();
  await using work = await makeWorkFolder({ logger, parent: folder.path });
  const signs = await bootHalting(folder.path, work, { timeoutMs: 4_000 });
  assert.equal(signs.verdict, "unclear");
  assert.match(signs.reason, /no sign of life/);
  assert.ok(signs.durationMs >= 4_000);
});

test("a run that is stopped stops its guest", async () => {
  await using folder = await tempDir();
  await using work = await makeWorkFolder({ logger, parent: folder.path });
  const stop = new AbortController();
  const reason = new Error("stopped");
  const running = bootHalting(folder.path, work, { signal: stop.signal });
  setTimeout(() => stop.abort(reason), 1_500);
  await assert.rejects(running, reason);
  assert.deepEqual(await processesOf(work.path), []);
});

test("what QEMU says of a disk that it cannot open is told", async () => {
  await using folder = await tempDir();
  await using work = await makeWorkFolder({ logger, parent: folder.path });
  const path = join(folder.path, "not-there.qcow2");
  await assert.rejects(bootGuest([{ disk, path }], conversionTo("bios"), optionsFor(work)), {
    code: "boot-failed",
    message: /not-there\.qcow2/,
  });
});

test("a QEMU that is not installed is named with its package", async () => {
  await using folder = await tempDir();
  await using work = await makeWorkFolder({ logger, parent: folder.path });
  const overlay = await overlayOver(Buffer.alloc(0), folder.path, work);
  const options = optionsFor(work, { qemu: "/nowhere/qemu-system-x86_64" });
  await assert.rejects(bootGuest([overlay], conversionTo("bios"), options), {
    code: "guest-tool-missing",
  });
  assert.ok(existsSync(overlay.path));
  assert.deepEqual(
    readdirSync(folder.path).filter((name) => name.endsWith(".png")),
    [],
  );
});

test("the guest of a run that was killed is ended by the next one", async () => {
  await using folder = await tempDir();
  const fixture = join(import.meta.dirname, "fixtures/endless-boot.ts");
  const killed = spawn(process.execPath, [fixture, folder.path], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [path] = (await once(createInterface({ input: killed.stdout }), "line")) as [string];
  // QEMU makes its socket once it has been started for good.
  await until("QEMU runs", () => existsSync(join(path, "qmp")));
  killed.kill("SIGKILL");
  await once(killed, "exit");
  assert.notDeepEqual(await processesOf(path), []);
  await using _next = await makeWorkFolder({ logger, parent: folder.path });
  assert.deepEqual(await processesOf(path), []);
  assert.equal(existsSync(path), false);
});
