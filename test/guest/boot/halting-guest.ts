// Guests that need no system: a boot loader that stands still, and a disk without one.

import assert from "node:assert/strict";
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type BootOptions, bootGuest } from "../../../src/guest/boot/boot.ts";
import type { Conversion } from "../../../src/guest/conversion.ts";
import type { WorkFolder } from "../../../src/guest/work/work.ts";
import { createLogger } from "../../../src/logger.ts";
import { runProgram } from "../../../src/run-program.ts";

export const quietLogger = createLogger({ level: "silent", pretty: false });
const mac = "00:50:56:8a:10:01";
export const diskBytes = 64 * 1024 * 1024;
export const disk = { diskId: "disk-2000", uri: "nbd://127.0.0.1/x", capacityBytes: diskBytes };

export function conversionTo(firmware: "bios" | "uefi"): Conversion {
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
export async function overlayOver(content: Buffer, folder: string, work: WorkFolder) {
  const raw = join(folder, "disk.raw");
  writeFileSync(raw, content);
  truncateSync(raw, diskBytes);
  const path = join(folder, "overlay.qcow2");
  const args = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", raw, path];
  const { exitCode } = await runProgram("qemu-img", args, { env: work.env });
  assert.equal(exitCode, 0);
  return { disk, path };
}

export function optionsFor(work: WorkFolder, more: Partial<BootOptions> = {}): BootOptions {
  const machine = {
    ...{ name: "web01", firmware: "bios" as const, secureBoot: false, cpus: 1, memoryMiB: 256 },
    nics: [{ mac, addresses: [] }],
  };
  const signal = new AbortController().signal;
  return { work, machine, logger: quietLogger, signal, timeoutMs: 120_000, ...more };
}

/** Of a boot loader that stands still: hlt; jmp. */
export async function bootHalting(folder: string, work: WorkFolder, more: Partial<BootOptions>) {
  const sector = Buffer.alloc(512);
  sector.set([0xf4, 0xeb, 0xfd]);
  sector.set([0x55, 0xaa], 510);
  const overlay = await overlayOver(sector, folder, work);
  return await bootGuest([overlay], conversionTo("bios"), optionsFor(work, more));
}
