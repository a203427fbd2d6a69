import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type BootOptions, bootGuest } from "../../../src/guest/boot/boot.ts";
import type { Conversion } from "../../../src/guest/conversion.ts";
import { processesOf } from "../../../src/guest/work/processes.ts";
import { makeWorkFolder, type WorkFolder } from "../../../src/guest/work/work.ts";
import { createLogger } from "../../../src/logger.ts";
import { runProgram } from "../../../src/run-program.ts";
import { type TempDir, tempDir } from "../../temp-dir.ts";

const logger = createLogger({ level: "silent", pretty: false });
const mac = "00:50:56:8a:10:01";
const diskBytes = 64 * 1024 * 1024;

function conversionTo(firmware: "bios" | "uefi"): Conversion {
  return {
    verdict: "boots",
    hardware: {
      ...{ controller: "virtio", firmware, secureBoot: false },
      machine: firmware === "uefi" ? "q35" : "pc",
      nics: [{ mac, model: "virtio" }],
    },
    guest: { os: "unknown" },
    repairs: [],
    findings: [],
    durationMs: 0,
  };
}

/** An overlay over a disk that holds `content` at its start and nothing else. */
async function overlayOver(content: Buffer, folder: TempDir, work: WorkFolder) {
  const raw = join(folder.path, "disk.raw");
  writeFileSync(raw, content);
  truncateSync(raw, diskBytes);
  const path = join(folder.path, "overlay.qcow2");
  const args = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", raw, path];
  const { exitCode } = await runProgram("qemu-img", args, { env: work.env });
  assert.equal(exitCode, 0);
  return {
    disk: { diskId: "disk-2000", uri: "nbd://127.0.0.1/x", capacityBytes: diskBytes },
    path,
  };
}

function optionsFor(work: WorkFolder, more: Partial<BootOptions> = {}): BootOptions {
  const machine = {
    ...{ name: "web01", firmware: "bios" as const, secureBoot: false, cpus: 1, memoryMiB: 256 },
    nics: [{ mac, addresses: [] }],
  };
  return {
    work,
    machine,
    logger,
    signal: new AbortController().signal,
    timeoutMs: 120_000,
    ...more,
  };
}

/** Of a boot loader that stands still: hlt; jmp. */
function haltingSector(): Buffer {
  const sector = Buffer.alloc(512);
  sector.set([0xf4, 0xeb, 0xfd]);
  sector.set([0x55, 0xaa], 510);
  return sector;
}

for (const firmware of ["bios", "uefi"] as const) {
  test(`a disk without a system does not boot with ${firmware}, and its picture is kept`, async () => {
    await using folder = await tempDir();
    await using work = await makeWorkFolder({ logger, parent: folder.path });
    const overlay = await overlayOver(Buffer.alloc(0), folder, work);
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
  const overlay = await overlayOver(haltingSector(), folder, work);
  const signs = await bootGuest(
    [overlay],
    conversionTo("bios"),
    optionsFor(work, { timeoutMs: 4_000 }),
  );
  assert.equal(signs.verdict, "unclear");
  assert.match(signs.reason, /no sign of life/);
  assert.ok(signs.durationMs >= 4_000);
});

test("a run that is stopped stops its guest", async () => {
  await using folder = await tempDir();
  await using work = await makeWorkFolder({ logger, parent: folder.path });
  const overlay = await overlayOver(haltingSector(), folder, work);
  const stop = new AbortController();
  const reason = new Error("stopped");
  const running = bootGuest(
    [overlay],
    conversionTo("bios"),
    optionsFor(work, { signal: stop.signal }),
  );
  setTimeout(() => stop.abort(reason), 1_500);
  await assert.rejects(running, reason);
  assert.deepEqual(await processesOf(work.path), []);
});

test("what QEMU says of a disk that it cannot open is told", async () => {
  await using folder = await tempDir();
  await using work = await makeWorkFolder({ logger, parent: folder.path });
  const disk = { diskId: "disk-2000", uri: "nbd://127.0.0.1/x", capacityBytes: diskBytes };
  const path = join(folder.path, "not-there.qcow2");
  await assert.rejects(bootGuest([{ disk, path }], conversionTo("bios"), optionsFor(work)), {
    code: "boot-failed",
    message: /not-there\.qcow2/,
  });
});

test("a QEMU that is not installed is named with its package", async () => {
  await using folder = await tempDir();
  await using work = await makeWorkFolder({ logger, parent: folder.path });
  const overlay = await overlayOver(Buffer.alloc(0), folder, work);
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
