// Phony Windows guests, converted by the real virt-v2v: the verdict of each, and that nothing reaches a
// target where it is no.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { promisify } from "node:util";
import { convertGuest, makeOverlays, makeWorkFolder } from "../../../src/guest/guest.ts";
import { createLogger } from "../../../src/logger.ts";
import { startQemuNbd } from "../../lab/targets.ts";
import { tempDir } from "../../temp-dir.ts";
import { run } from "../debian/run.ts";
import { makeVirtioWin, makeVirtTools } from "./drivers.ts";
import { phonyWindows, type State } from "./windows.ts";

const logger = createLogger({ level: "silent", pretty: false });
const mac = "00:50:56:8a:20:01";
const digest = async (path: string) =>
  createHash("sha256")
    .update(await readFile(path))
    .digest("hex");

/** The conversion of one, with drivers for these folders of virtio-win; what is on the overlay goes to `look`. */
async function convert(
  t: TestContext,
  state: State,
  drivers: readonly string[],
  look?: (overlay: string) => Promise<void>,
) {
  const folder = await tempDir();
  t.after(() => folder[Symbol.asyncDispose]());
  process.env.VIRT_TOOLS_DATA_DIR = await makeVirtTools(folder.path);
  const virtioWin = await makeVirtioWin(folder.path, drivers);
  const target = join(folder.path, "target.raw");
  await promisify(execFile)("cp", ["--sparse=always", await phonyWindows(state), target]);
  const before = await digest(target);
  await using server = await startQemuNbd({ file: target });
  await using work = await makeWorkFolder({ logger, parent: folder.path });
  const disk = { diskId: "disk-2000", uri: server.uri, capacityBytes: 1024 };
  const overlays = await makeOverlays([disk], work, { logger });
  const hardware = {
    ...{ name: "vm", firmware: "bios" as const, secureBoot: false, cpus: 2, memoryMiB: 2048 },
    guestId: "windows2019srvNext_64Guest",
    nics: [{ mac, addresses: [] }],
  };
  const limits = { timeoutMs: 900_000, overlayBytesMax: 1024 ** 3 };
  const conversion = await convertGuest(overlays, hardware, { work, logger, virtioWin, ...limits });
  assert.equal(await digest(target), before, "the target is as it was");
  await look?.(overlays[0]!.path);
  return conversion;
}

/** What a guestfish of its own finds in the converted guest. */
async function guestfish(overlay: string, commands: readonly string[]) {
  const script = [`add ${overlay} format:qcow2 readonly:true`, "run", "mount-ro /dev/sda1 /"];
  return run("guestfish", [], `${[...script, ...commands].join("\n")}\n`);
}
const bad = ({ findings }: Awaited<ReturnType<typeof convert>>) =>
  findings
    .filter(({ level }) => level !== "harmless")
    .map(({ level, text }) => `${level}: ${text}`);

test("Windows with drivers: boots on virtio, its driver starting at boot, its address by MAC", async (t) => {
  const conversion = await convert(t, "shut-down", ["2k22"], async (overlay) => {
    const said = await guestfish(overlay, [
      "cat /Windows/System32/drivers/viostor.sys",
      "-glob cat /Windows/Temp/*.ps1",
      "-glob cat '/Program Files/Guestfs/Firstboot/*.ps1'",
    ]);
    assert.match(said, /phony viostor/);
    assert.match(said, /mac_address = '00-50-56-8a-20-01'/i);
    assert.match(
      said,
      /'192\.0\.2\.30' -DefaultGateway '192\.0\.2\.1' -PrefixLength 24[\s\S]*'192\.0\.2\.53','192\.0\.2\.54'/,
    );
  });
  assert.deepEqual(bad(conversion), []);
  assert.equal(conversion.verdict, "boots");
  assert.deepEqual(conversion.hardware, {
    ...{ controller: "virtio", firmware: "bios", secureBoot: false, machine: "pc" },
    nics: [{ mac, model: "virtio" }],
  });
  assert.equal(conversion.guest.os, "windows");
  assert.match(conversion.guest.product ?? "", /Windows Server 2022/);
});

test("Windows without drivers for its release: will not boot", async (t) => {
  const conversion = await convert(t, "shut-down", []);
  assert.equal(conversion.verdict, "will-not-boot");
  assert.match(
    bad(conversion).join("\n"),
    /no virtio drivers available[\s\S]*has no virtio driver for its disks/,
  );
});

test("Windows that is hibernated: will not boot, and the reason is said", async (t) => {
  const conversion = await convert(t, "hibernated", ["2k22"]);
  assert.equal(conversion.verdict, "will-not-boot");
  assert.match(bad(conversion).join("\n"), /Windows Hibernation or Fast Restart/);
});

test("Windows on a full disk: will not boot, and the reason is said", async (t) => {
  const conversion = await convert(t, "full", ["2k22"]);
  assert.equal(conversion.verdict, "will-not-boot");
  assert.match(bad(conversion).join("\n"), /not enough free space for conversion on filesystem/);
});
