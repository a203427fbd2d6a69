// A phony Windows converted by the real virt-v2v on an overlay over a server of its own.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { promisify } from "node:util";
import {
  type Conversion,
  convertGuest,
  makeOverlays,
  makeWorkFolder,
} from "../../../src/guest/guest.ts";
import { createLogger } from "../../../src/logger.ts";
import { digestOfFile } from "../../digest.ts";
import { startQemuNbd } from "../../lab/targets.ts";
import { tempDir } from "../../temp-dir.ts";
import { run } from "../debian/run.ts";
import { makeVirtioWin, makeVirtTools } from "./drivers.ts";
import { type PhonyWindows, phonyWindows, windowsPartition } from "./windows.ts";

const logger = createLogger({ level: "silent", pretty: false });
export const mac = "00:50:56:8a:20:01";

/** What a guestfish of its own prints of the converted guest, its Windows mounted. */
type Look = (commands: readonly string[]) => Promise<string>;

/**
 * With drivers for these folders of virtio-win; `look` may look at what is on the overlay of one that boots. That the target is as it was
 * is seen to here.
 */
export async function convertPhony(
  t: TestContext,
  guest: PhonyWindows,
  drivers: readonly string[],
  look?: (look: Look) => Promise<void>,
): Promise<Conversion> {
  const folder = await tempDir();
  t.after(() => folder[Symbol.asyncDispose]());
  process.env.VIRT_TOOLS_DATA_DIR = await makeVirtTools(folder.path);
  const virtioWin = await makeVirtioWin(folder.path, drivers);
  const target = join(folder.path, "target.raw");
  await promisify(execFile)("cp", ["--sparse=always", await phonyWindows(guest), target]);
  const before = await digestOfFile(target);
  await using server = await startQemuNbd({ file: target });
  await using work = await makeWorkFolder({ logger, parent: folder.path });
  const disk = { diskId: "disk-2000", uri: server.uri, capacityBytes: 1024 };
  const overlays = await makeOverlays([disk], work, { logger });
  const { firmware } = guest;
  const hardware = {
    ...{ name: "vm", firmware, secureBoot: false, cpus: 2, memoryMiB: 2048 },
    guestId: "windows2019srvNext_64Guest",
    nics: [{ mac, addresses: [] }],
  };
  const limits = { timeoutMs: 900_000, overlayBytesMax: 1024 ** 3 };
  const conversion = await convertGuest(overlays, hardware, { work, logger, virtioWin, ...limits });
  assert.equal(await digestOfFile(target), before, "the target is as it was");
  const script = [
    `add ${overlays[0]!.path} format:qcow2 readonly:true`,
    ...["run", `mount-ro ${windowsPartition[firmware]} /`],
  ];
  if (conversion.verdict === "boots")
    await look?.((commands) => run("guestfish", [], `${[...script, ...commands].join("\n")}\n`));
  return conversion;
}

/** What speaks against it, with its level. */
export function objections({ findings }: Conversion): string {
  return findings
    .filter(({ level }) => level !== "harmless")
    .map(({ level, text }) => `${level}: ${text}`)
    .join("\n");
}
