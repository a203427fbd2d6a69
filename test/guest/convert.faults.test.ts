// What goes wrong around virt-v2v, with a program in its place that has one misbehaviour.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import {
  type ConvertOptions,
  convertGuest,
  makeOverlays,
  makeWorkFolder,
  missingGuestTools,
} from "../../src/guest/guest.ts";
import { commandLine } from "../../src/guest/guestfish/quote.ts";
import { processesOf } from "../../src/guest/work/processes.ts";
import { createLogger } from "../../src/logger.ts";
import { isRunning } from "../lab/process-table.ts";
import { createVolume, startQemuNbd } from "../lab/targets.ts";
import { tempDir } from "../temp-dir.ts";
import { until } from "../until.ts";
import { writeStandIn } from "./stand-in.ts";

const logger = createLogger({ level: "silent", pretty: false });
const mib = 1024 * 1024;
const hardware = {
  ...{ name: "vm", firmware: "bios" as const, secureBoot: false, cpus: 1, memoryMiB: 512 },
  nics: [],
};
/** Of the program that stands for virt-v2v: it never ends, nor does what it has started. */
const hangs = `trap '' TERM; setsid sleep 1000 & echo $! > "$HERE/child"; touch "$HERE/started"; sleep 1000`;
const says = (type: string, text: string) =>
  `echo '{ "message": "${text}", "timestamp": "", "type": "${type}" }'`;

/** Programs found before all others; $HERE is their folder. */
async function standIns(t: TestContext, folder: string, scripts: Record<string, string>) {
  const path = process.env.PATH;
  t.after(() => {
    process.env.PATH = path;
  });
  for (const [name, script] of Object.entries(scripts)) {
    await writeStandIn(folder, name, script);
  }
  process.env.PATH = `${folder}:${path}`;
}

async function setUp(t: TestContext, script: string, qemu = "exit 1") {
  const folder = await tempDir();
  t.after(() => folder[Symbol.asyncDispose]());
  const here = join(folder.path, "bin");
  await mkdir(here);
  await standIns(t, here, { "virt-v2v-in-place": script, "qemu-system-x86_64": qemu });
  const volume = join(folder.path, "volume.img");
  await createVolume(volume, 256 * mib);
  const server = await startQemuNbd({ file: volume });
  t.after(() => server.stop());
  const convert = async (
    more: Partial<ConvertOptions> = {},
    parent = folder.path,
    machine = {},
  ) => {
    await using work = await makeWorkFolder({ logger, parent });
    const disk = { diskId: "disk-2000", uri: server.uri, capacityBytes: 256 * mib };
    const overlays = await makeOverlays([disk], work, { logger });
    const limits = { timeoutMs: 120_000, overlayBytesMax: 64 * mib };
    const outcome = await convertGuest(
      overlays,
      { ...hardware, ...machine },
      {
        work,
        logger,
        ...limits,
        ...more,
      },
    ).then(
      () => undefined,
      (error: unknown) => error,
    );
    await work[Symbol.asyncDispose]();
    assert.deepEqual(await processesOf(work.path), []);
    assert.equal(existsSync(work.path), false);
    throw outcome;
  };
  return { folder: folder.path, here, server, convert };
}

test("a virt-v2v that hangs is ended when its time is up, and what it has started with it", async (t) => {
  const { here, convert } = await setUp(t, hangs);
  await assert.rejects(convert({ timeoutMs: 10_000 }), {
    code: "conversion-timeout",
    exitCode: 9,
    message: /did not end within 0:10/,
  });
  assert.ok(existsSync(join(here, "started")));
  assert.equal(isRunning(Number(readFileSync(join(here, "child"), "utf8"))), false);
});

const tookOther = says(
  "error",
  "libguestfs error: inspect_get_format: inspect_get_format_stub: btrfsvol:/dev/sdb2/@rootfs: expecting a btrfs volume",
);

test("an appliance that took one disk for another is started again, a few times", async (t) => {
  const counts = `echo >> "$HERE/starts"`;
  const other = says("error", "virt-v2v is unable to convert this guest type (linux/void)");
  const once = await setUp(
    t,
    `${counts}; [ $(wc -l < "$HERE/starts") = 1 ] && { ${tookOther}; exit 1; }; ${other}; exit 1`,
  );
  const starts = (here: string) => readFileSync(join(here, "starts"), "utf8").length;
  await assert.rejects(once.convert(), { code: "guest-unsupported" });
  assert.equal(starts(once.here), 2);
  const always = await setUp(t, `${counts}; ${tookOther}; exit 1`);
  await assert.rejects(always.convert(), {
    code: "conversion-failed",
    message: /expecting a btrfs volume/,
  });
  assert.equal(starts(always.here), 4);
});

test("an interruption ends virt-v2v, and is what the caller hears", async (t) => {
  const { here, convert } = await setUp(t, hangs);
  const interruption = new AbortController();
  const done = assert.rejects(convert({ signal: interruption.signal }), /somebody pressed Ctrl-C/);
  await until("it hangs", () => existsSync(join(here, "child")));
  interruption.abort(new Error("somebody pressed Ctrl-C"));
  await done;
});

test("an overlay larger than allowed ends the conversion", async (t) => {
  const write = `qemu-io -f qcow2 -c "write -P 7 0 200M" "$(dirname "$5")/disk-0.qcow2" >/dev/null; sleep 1000`;
  const { convert } = await setUp(t, write.replace("$5", "$7"));
  await assert.rejects(convert({ overlayBytesMax: 16 * mib }), {
    code: "overlay-too-large",
    message: /has changed [\d.]+ MiB, and 16.0 MiB are allowed/,
  });
});

test("a full TMPDIR is an error of ours, though the program waits for room for ever", async (t) => {
  const { folder, convert } = await setUp(t, 'cat /dev/zero > "$TMPDIR/fill"; sleep 1000');
  const small = join(folder, "small");
  await mkdir(small);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=8m", "none", small]);
  try {
    await assert.rejects(convert({}, small), {
      code: "work-folder-unusable",
      message: /no room is left in .*small/,
    });
  } finally {
    execFileSync("umount", [small]);
  }
});

test("a target that is lost while the guest is converted is what is told, not a broken disk", async (t) => {
  const read = `touch "$HERE/started"
while qemu-io -r -f qcow2 -c "read 0 64k" "$(dirname "$7")/disk-0.qcow2" >/dev/null 2>&1; do :; done
${says("error", "libguestfs error: Input/output error")}; exit 1`;
  const { here, server, convert } = await setUp(t, read);
  const done = assert.rejects(convert(), {
    code: "target-unreachable",
    message: /the target of disk-2000, nbd:.*, was lost while the guest was converted/,
  });
  await until("it reads", () => existsSync(join(here, "started")));
  await server.kill();
  await done;
});

test("libguestfs does without KVM where no guest runs on it, and with it where one does", async (t) => {
  const record = `echo "$LIBGUESTFS_BACKEND_SETTINGS" > "$HERE/settings"; exit 1`;
  const without = await setUp(t, record, "exit 1");
  await assert.rejects(without.convert(), { code: "conversion-failed" });
  assert.equal(readFileSync(join(without.here, "settings"), "utf8"), "force_tcg\n");
  // What the proof's instructions end a working machine with.
  const withKvm = await setUp(t, record, "exit 85");
  await assert.rejects(withKvm.convert(), { code: "conversion-failed" });
  assert.equal(readFileSync(join(withKvm.here, "settings"), "utf8"), "\n");
});

test("a guest of a kind that virt-v2v does not convert is refused by name, another failure is told as it is", async (t) => {
  const kind = "virt-v2v is unable to convert this guest type (linux/gentoo)";
  const unsupported = await setUp(t, `${says("error", kind)}; exit 1`);
  await assert.rejects(unsupported.convert(), {
    code: "guest-unsupported",
    message: /unable to convert this guest type \(linux\/gentoo\)/,
  });
  const broken = await setUp(t, `${says("error", "appliance closed the connection")}; exit 1`);
  await assert.rejects(broken.convert(), {
    code: "conversion-failed",
    message: "virt-v2v: appliance closed the connection",
  });
});

test("a guest that nothing converts is refused by vSphere's name for it, before anything is done", async (t) => {
  const { here, convert } = await setUp(t, 'touch "$HERE/started"');
  await assert.rejects(convert({}, undefined, { guestId: "freebsd14_64Guest" }), {
    code: "guest-unsupported",
    message: "vm is FreeBSD (freebsd14_64Guest), for which there is no conversion",
  });
  assert.equal(existsSync(join(here, "started")), false);
});

test("several operating systems are refused with the flag that chooses one, which virt-v2v is given", async (t) => {
  const kind = "multi-boot operating systems are not supported by virt-v2v. Use the --root option";
  const { here, convert } = await setUp(
    t,
    `echo "$@" > "$HERE/arguments"; ${says("error", kind)}; exit 1`,
  );
  await assert.rejects(convert(), { code: "guest-unsupported", remedy: /--guest-root/ });
  assert.match(readFileSync(join(here, "arguments"), "utf8"), /--root single /);
  await assert.rejects(convert({ root: "/dev/sda2" }), { code: "guest-unsupported" });
  assert.match(readFileSync(join(here, "arguments"), "utf8"), /--root \/dev\/sda2 /);
});

test("what virt-v2v refuses for the guest's present state is a verdict", async (t) => {
  const text = "not enough free space for conversion on filesystem /. 1.0 MB free";
  const { convert } = await setUp(t, `${says("error", text)}; exit 1`);
  await assert.rejects(convert(), (outcome) => outcome === undefined);
});

test("everything that is missing is named with its package", async (t) => {
  const path = process.env.PATH;
  t.after(() => {
    process.env.PATH = path;
  });
  process.env.PATH = "/nowhere";
  const wishes = { windows: true, virtioWin: "/no/such.iso", boot: true } as const;
  const missing = await missingGuestTools({ ...wishes, firmware: "uefi" });
  const text = missing.map(({ message, remedy }) => `${message}: ${remedy}`).join("\n");
  assert.match(
    text,
    /virt-v2v-in-place is not installed: .*apt-get install virt-v2v; .*dnf install virt-v2v/,
  );
  assert.match(text, /guestfish is not installed: .*apt-get install libguestfs-tools/);
  assert.match(text, /qemu-img is not installed: .*apt-get install qemu-utils/);
  assert.match(text, /--virtio-win \/no\/such.iso is not there/);
  assert.match(text, /rhsrvany.exe is not in /);
  process.env.PATH = path;
  assert.deepEqual(await missingGuestTools({}), []);
});

test("whatever a value holds, guestfish gets it as it is, and no shell sees it", () => {
  const value = "a b\"'\\$(touch /tmp/x) `id` | ! # * ~ ü\n\t<end>";
  const input = `${commandLine("echo", [value])}\n`;
  const { stdout } = spawnSync("guestfish", [], { input, encoding: "utf8" });
  assert.equal(stdout, `${value}\n`);
  assert.throws(() => commandLine("echo", ["\0"]), RangeError);
});
