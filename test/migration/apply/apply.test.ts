import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { promisify } from "node:util";
import { applyOverlays } from "../../../src/migration/apply/apply.ts";
import { restoreTargets } from "../../../src/migration/apply/restore.ts";
import { endUnended, settleConversion } from "../../../src/migration/apply/settle.ts";
import type { NbdServer } from "../../lab/nbd-server.ts";
import { startNbdkitTarget, startNbdServer, startQemuNbd } from "../../lab/targets.ts";
import { Random } from "../../random.ts";
import { mountingShell, rejection } from "../../state/helpers.ts";
import { tempDir } from "../../temp-dir.ts";
import { flatten, makeOverlay, openWorkshop, toConvert, vm, writeAtRandom } from "./workshop.ts";

const mib = 1024 * 1024;
const gib = 1024 * mib;
const tls = { caFile: undefined, certificatesDir: undefined, pskFile: undefined };
const options = { runId: "run-1", bytesMax: gib, tls, result: { verdict: "boots" } };

interface Made {
  readonly key: number;
  readonly file: string;
  readonly server: NbdServer;
  readonly overlay: string;
  readonly uri: string;
  readonly before: Buffer;
  readonly after: Buffer;
}

async function folderOf(t: TestContext): Promise<string> {
  const folder = await tempDir();
  t.after(() => folder[Symbol.asyncDispose]());
  return folder.path;
}

type Start = (file: string, folder: string) => Promise<NbdServer>;

const nbdServer: Start = (file, folder) =>
  startNbdServer({ folder, exports: [{ name: "a b", file }] });
const qemuNbd: Start = (file) => startQemuNbd({ file, exportName: "b" });
/** Requests in blocks of 64 KiB alone. */
const strict: Start = (file) =>
  startNbdkitTarget({
    file,
    filters: ["blocksize-policy"],
    settings: [
      ...["blocksize-minimum=65536", "blocksize-preferred=65536", "blocksize-maximum=32M"],
      "blocksize-error-policy=error",
    ],
  });

/** A target with data in its first part, and an overlay over it. */
async function make(t: TestContext, folder: string, key: number, start: Start): Promise<Made> {
  const random = new Random(key);
  const file = join(folder, `${key}.img`);
  const before = Buffer.concat([random.bytes(2 * mib), Buffer.alloc(2 * mib)]);
  await writeFile(file, before);
  const server = await start(file, join(folder, String(key)));
  t.after(() => server[Symbol.asyncDispose]());
  const overlay = join(folder, `${key}.qcow2`);
  await makeOverlay(overlay, server.uri);
  await writeAtRandom(overlay, random, before.length);
  const after = await flatten(overlay);
  assert.ok(!after.equals(before));
  return { key, file, server, overlay, uri: server.uri, before, after };
}

const toWorkshop = ({ key, uri, overlay }: Made) => ({ key, uri, overlay });

const makeTwo = async (t: TestContext, folder: string) => [
  await make(t, folder, 2000, nbdServer),
  await make(t, folder, 2001, qemuNbd),
];

async function assertAre(disks: readonly Made[], wanted: "before" | "after") {
  for (const disk of disks) {
    const now = await readFile(disk.file);
    assert.ok(now.equals(disk[wanted]), `disk-${disk.key} is not as it was ${wanted}`);
  }
}

test("overlays reach all targets on two kinds of servers, and the way back brings every byte of before", async (t) => {
  const folder = await folderOf(t);
  const disks = await makeTwo(t, folder);
  await using shop = await openWorkshop(folder);
  const { context, state, keepOld } = shop;
  const targets = await Promise.all(disks.map(toConvert));
  const applied = await applyOverlays(context, targets, { ...options, keepOld });
  await assertAre(disks, "after");
  const stored = state.conversions.read(vm);
  assert.equal(stored?.phase, "converted");
  assert.deepEqual(stored?.result, { verdict: "boots" });
  assert.deepEqual(stored?.disks, [2000, 2001]);
  assert.equal(stored?.folder, applied.folder);
  const owner = state.targets.findOtherOwner(
    { ...vm, instanceUuid: "another" },
    { deviceKey: 2000, names: targets[0]!.names },
  );
  assert.equal(owner?.deviceKey, 2000);
  await rejection(settleConversion({ ...context, config: shop.config }), "converted");
  await assertAre(disks, "after");

  const restored = await restoreTargets(context);
  await assertAre(disks, "before");
  assert.deepEqual(
    restored.disks.map(({ restoredBytes }) => restoredBytes),
    applied.disks.map(({ changedBytes }) => changedBytes),
  );
  assert.equal(state.conversions.read(vm), undefined);
  assert.deepEqual(readdirSync(keepOld), []);
  await settleConversion({ ...context, config: shop.config });
});

test("a target that takes blocks of 64 KiB alone is converted and brought back like any other", async (t) => {
  const folder = await folderOf(t);
  const disks = [await make(t, folder, 2003, strict)];
  await using shop = await openWorkshop(folder);
  const { context, keepOld } = shop;
  const targets = await Promise.all(disks.map(toConvert));
  await applyOverlays(context, targets, { ...options, keepOld });
  await assertAre(disks, "after");
  await restoreTargets(context);
  await assertAre(disks, "before");
});

test("zeroes over what is zero already cost no room, and an overlay that holds nothing changes nothing", async (t) => {
  const folder = await folderOf(t);
  const [one] = await makeTwo(t, folder);
  const empty = join(folder, "empty.qcow2");
  await makeOverlay(empty, one!.uri);
  await using shop = await openWorkshop(folder);
  const { context, keepOld } = shop;
  const target = { ...(await toConvert(one!)), overlay: empty };
  const nothing = { ...options, keepOld, bytesMax: 0 };
  const applied = await applyOverlays(context, [target], nothing);
  assert.deepEqual(applied.disks, [{ diskId: "disk-2000", changedBytes: 0 }]);
  await restoreTargets(context);
  await assertAre([one!], "before");
});

test("more than may be kept is refused, no target is touched, and nothing is left", async (t) => {
  const folder = await folderOf(t);
  const disks = await makeTwo(t, folder);
  await using shop = await openWorkshop(folder);
  const { context, state, keepOld } = shop;
  const targets = await Promise.all(disks.map(toConvert));
  const little = { ...options, keepOld, bytesMax: 64 * 1024 };
  const { message, remedy } = await rejection(
    applyOverlays(context, targets, little),
    "conversion-too-large",
  );
  assert.match(message, /64\.0 KiB/);
  assert.match(remedy, /--keep-old-max/);
  await assertAre(disks, "before");
  assert.equal(state.conversions.read(vm), undefined);
  assert.deepEqual(readdirSync(keepOld), []);
});

/** Applies in a process for which `keepOld` is a small file system of its own; gives what it said. */
async function applyOnSmallDisk(t: TestContext, folder: string, sizeMib: number, fill: boolean) {
  const disks = await makeTwo(t, folder);
  const keepOld = join(folder, "small");
  await mkdir(keepOld);
  const job = { folder, keepOld, fill, disks: disks.map(toWorkshop) };
  const script = join(import.meta.dirname, "full-disk.ts");
  const command = `mount -t tmpfs -o size=${sizeMib}m none '${keepOld}'; exec "$@"`;
  const { stdout } = await promisify(execFile)(mountingShell()[0]!, [
    ...[...mountingShell().slice(1), command, "sh"],
    ...[process.execPath, "--disable-warning=ExperimentalWarning", script, JSON.stringify(job)],
  ]);
  return { disks, said: JSON.parse(stdout) as { code: string; message: string; left: string[] } };
}

test("a folder without room is refused before anything is copied, and one that fills up meanwhile is named; no target is touched", async (t) => {
  for (const fill of [false, true]) {
    const folder = await folderOf(t);
    const { disks, said } = await applyOnSmallDisk(t, folder, fill ? 72 : 32, fill);
    assert.equal(said.code, "old-bytes-unkept", said.message);
    assert.match(said.message, fill ? /\.old cannot be written: .*space/i : /has no room/);
    assert.deepEqual(said.left, fill ? ["filler"] : []);
    await assertAre(disks, "before");
  }
});

test("a folder that cannot be made is named, and no target is touched", async (t) => {
  const folder = await folderOf(t);
  const disks = await makeTwo(t, folder);
  await using shop = await openWorkshop(folder);
  const targets = await Promise.all(disks.map(toConvert));
  await writeFile(join(folder, "file"), "");
  const keepOld = join(folder, "file");
  const { message } = await rejection(
    applyOverlays(shop.context, targets, { ...options, keepOld }),
    "old-bytes-unkept",
  );
  assert.match(message, /file/);
  await assertAre(disks, "before");
  assert.equal(shop.state.conversions.read(vm), undefined);
});

test("a target that is lost in the middle: the others go back when it is there again, by the next command", async (t) => {
  const folder = await folderOf(t);
  const [first, second] = await makeTwo(t, folder);
  const disks = [first!, second!];
  const context = async () => await openWorkshop(folder);
  {
    await using shop = await context();
    const targets = await Promise.all(disks.map(toConvert));
    const lost = {
      ...options,
      keepOld: shop.keepOld,
      // Everything is kept by now; the second target is never written to.
      onApplying: () => void second!.server.stop(),
    };
    await rejection(applyOverlays(shop.context, targets, lost), "target-io");
    assert.notEqual(shop.state.conversions.read(vm)?.phase, "converted");
    assert.ok(existsSync(shop.keepOld));
    await assertAre([first!], "after");
  }
  await second!.server.start();
  await using shop = await context();
  assert.equal(await endUnended({ ...shop.context, config: shop.config }), undefined);
  await assertAre(disks, "before");
  assert.deepEqual(readdirSync(shop.keepOld), []);
  assert.match(shop.logged.join("\n"), /did not end: the old bytes are brought back/);
});

test("old bytes that were changed or removed are never written back; --full goes on without them", async (t) => {
  const folder = await folderOf(t);
  const disks = await makeTwo(t, folder);
  await using shop = await openWorkshop(folder);
  const { context, state, keepOld } = shop;
  const targets = await Promise.all(disks.map(toConvert));
  const applied = await applyOverlays(context, targets, { ...options, keepOld });
  const file = join(applied.folder, "disk-2001.old");
  await writeFile(file, Buffer.alloc(4 * mib, 1));
  await rejection(restoreTargets(context), "old-bytes-lost");
  await assertAre(disks, "after");
  await rm(join(applied.folder, "list.json"));
  await rejection(restoreTargets(context), "old-bytes-lost");
  await assertAre(disks, "after");
  await settleConversion({ ...context, config: { ...shop.config, full: true } });
  assert.equal(state.conversions.read(vm), undefined);
  assert.equal(existsSync(applied.folder), false);
});

test("a target that another disk took over is left alone on the way back", async (t) => {
  const folder = await folderOf(t);
  const disks = await makeTwo(t, folder);
  await using shop = await openWorkshop(folder);
  const { context, state, keepOld } = shop;
  const targets = await Promise.all(disks.map(toConvert));
  await applyOverlays(context, targets, { ...options, keepOld });
  const taken = { deviceKey: 2000, names: targets[1]!.names };
  state.targets.takeOver({ ...vm, instanceUuid: "another" }, taken, "run-2");
  await restoreTargets(context);
  await assertAre([disks[0]!], "before");
  await assertAre([disks[1]!], "after");
});
