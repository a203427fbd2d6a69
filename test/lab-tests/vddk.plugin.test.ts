// The stand-in library under the real nbdkit and its real VDDK plugin, read by independent clients.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, open, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { promisify } from "node:util";
import {
  installVddk,
  publishSnapshot,
  type VddkLab,
  writeVddkCredentials,
} from "../lab/vddk/install.ts";
import { type NfcListener, startNfcListener } from "../lab/vddk/nfc-listener.ts";

const run = promisify(execFile);
const kib = 1024;
// A tail that is no multiple of 64 KiB, with data in the very last sector.
const capacityBytes = 24 * kib * kib + 3 * 512;
const diskPath = "[datastore 1] My VM/My VM_1-000001.vmdk";
const thumbprint = "B2:31:BD:DE:9F:DB:9D:E0:78:EF:30:42:8A:41:B0:28:92:93:C8:DD";
let labDir = "";
let image = "";
let vddk: VddkLab;
let nfc: NfcListener;

before(async () => {
  labDir = await mkdtemp(join(tmpdir(), "lab-vddk-"));
  vddk = await installVddk(labDir);
  nfc = await startNfcListener();
  image = join(labDir, "image.raw");
  await writeImage();
  await writeVddkCredentials(labDir, {
    username: "admin@vsphere.local",
    password: "p w\\'\"$,1",
    thumbprintSha1: thumbprint,
    nfc: nfc.endpoint,
  });
  await writeFile(join(labDir, "password"), "p w\\'\"$,1");
  await publishSnapshot(labDir, "snapshot-7", [
    { vmMoref: "vm-1", diskPath: "[datastore 1] other.vmdk", image: "/dev/null" },
    { vmMoref: "vm-1", diskPath, image },
  ]);
});

beforeEach(() => vddk.setFaults({}));

after(async () => {
  await nfc.stop();
  await rm(labDir, { recursive: true, force: true });
});

async function writeImage(): Promise<void> {
  await using file = await open(image, "w");
  await file.truncate(capacityBytes);
  const data = Buffer.alloc(70 * kib);
  for (let at = 0; at < data.length; at += 32)
    createHash("sha256").update(`block ${at}`).digest().copy(data, at);
  for (const offset of [0, 1_048_576 + 61_440, 9 * 1_048_576])
    await file.write(data, 0, data.length, offset);
  await file.write(data, 0, 512, capacityBytes - 512);
}

interface Outcome {
  code: number | null;
  output: string;
}

/** Runs a shell command beside an nbdkit that serves the disk at $uri. */
function withNbdkit(command: string, change: Record<string, string> = {}): Promise<Outcome> {
  const settings = {
    libdir: vddk.libdir,
    server: "vcenter.lab",
    user: "admin@vsphere.local",
    password: `+${join(labDir, "password")}`,
    thumbprint,
    vm: "moref=vm-1",
    snapshot: "snapshot-7",
    transports: "file:nbdssl:nbd",
    file: diskPath,
    ...change,
  };
  const pairs = Object.entries(settings).map(([key, value]) => `${key}=${value}`);
  const child = spawn("nbdkit", ["-r", "-v", "-U", "-", vddk.plugin, ...pairs, "--run", command], {
    stdio: ["ignore", "pipe", "pipe"],
    cwd: labDir,
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk) => {
      output += chunk;
    });
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, output })));
}

const copyWhole = 'nbdcopy --no-extents "$uri" copy.raw && cmp copy.raw image.raw && echo SAME';

test("the whole disk is read byte for byte, with and without extents", async () => {
  const plain = await withNbdkit(copyWhole);
  assert.match(plain.output, /^SAME$/m);
  const sparse = await withNbdkit(
    'nbdcopy "$uri" sparse.raw && cmp sparse.raw image.raw && echo SAME',
  );
  assert.match(sparse.output, /^SAME$/m);
  const compared = await withNbdkit('qemu-img compare -f raw -F raw "$uri" image.raw');
  assert.match(compared.output, /Images are identical/);
  const use = await vddk.readUse();
  assert.equal(use[0]!.bytes, capacityBytes);
  assert.ok(use.some(({ bytes }) => bytes > 0 && bytes < 2 * 1_048_576));
});

test("allocation is told in chunks of 64 KiB", async () => {
  const { output } = await withNbdkit('nbdinfo --map "$uri"');
  const data = [...output.matchAll(/^ *(\d+) +(\d+) +0 +data$/gm)].map((match) => [
    Number(match[1]),
    Number(match[2]),
  ]);
  assert.deepEqual(data, [
    [0, 131_072],
    [1_048_576, 196_608],
    [9 * 1_048_576, 131_072],
    [24 * 1_048_576, 1536],
  ]);
});

test("without extents the plugin offers none, and the data is still right", async () => {
  await vddk.setFaults({ no_extents: 1 });
  const { output } = await withNbdkit(copyWhole.replace("--no-extents", ""));
  assert.match(output, /extents support will be disabled.*The operation is not supported/);
  assert.match(output, /^SAME$/m);
});

const failures: [string, () => Promise<Outcome>, RegExp[]][] = [
  [
    "another thumbprint",
    () => withNbdkit('nbdinfo "$uri"', { thumbprint: "12" }),
    [
      /Failed to verify SSL certificate: actual thumbprint=B2:31:.*:DD expected=12/,
      /error: VixDiskLib_Open: .*: Unknown error/,
      /Cannot open disk \[datastore 1\] .* Error 1 \(Unknown error\) at/,
    ],
  ],
  [
    "another user",
    () => withNbdkit('nbdinfo "$uri"', { user: "root" }),
    [/incorrect user name or password/, /Insufficient permissions in the host operating system/],
  ],
  [
    "another password",
    () => withNbdkit('nbdinfo "$uri"', { password: "wrong" }),
    [/incorrect user name or password/, /Insufficient permissions in the host operating system/],
  ],
  [
    "a snapshot that is gone",
    () => withNbdkit('nbdinfo "$uri"', { snapshot: "snapshot-8" }),
    [/VixDiskLib_Open: .*: A file was not found/],
  ],
  [
    "a disk of another machine",
    () => withNbdkit('nbdinfo "$uri"', { vm: "moref=vm-2" }),
    [/VixDiskLib_Open: .*: A file was not found/],
  ],
  [
    "a name that does not resolve",
    async () => {
      await vddk.setFaults({ nfc_unresolvable: 1 });
      return withNbdkit('nbdinfo "$uri"');
    },
    [/Host address lookup for server .* failed: Name or service not known/],
  ],
  [
    "a daemon that does not greet",
    async () => {
      nfc.setSilent(true);
      return withNbdkit('nbdinfo --size "$uri"').finally(() => nfc.setSilent(false));
    },
    [/Error reading from vmware-authd socket/],
  ],
];

for (const [what, attempt, expected] of failures) {
  test(`opening fails with VMware's own words on ${what}`, async () => {
    const { code, output } = await attempt();
    assert.notEqual(code, 0);
    for (const pattern of expected) assert.match(output, pattern);
  });
}

test("a closed port 902 is named with its host, by nbdkit's error lines too", async () => {
  const port = Number(nfc.endpoint.split(":")[1]);
  await nfc.stop();
  try {
    const { output } = await withNbdkit('nbdinfo "$uri"');
    const expected = `error: \\[NFC ERROR\\].*Failed to connect to server 127.0.0.1:${port}`;
    assert.match(output, new RegExp(expected));
    assert.match(output, /VixDiskLib_Open: .*: The server refused connection/);
  } finally {
    nfc = await startNfcListener({ port });
  }
});

test("the running disk itself is refused: without a snapshot there is no access", async () => {
  const { output } = await withNbdkit('nbdinfo "$uri"', { snapshot: "" });
  assert.match(output, /You do not have access rights to this file/);
});

test("a counted fault strikes that often in all processes together", async () => {
  await vddk.setFaults({ open_error: 18000, open_error_count: 1 });
  const first = await withNbdkit('nbdinfo --size "$uri"');
  assert.match(first.output, /Cannot connect to the host/);
  assert.match((await withNbdkit(copyWhole)).output, /^SAME$/m);
});

test("a bad range fails, the rest of the disk does not", async () => {
  await vddk.setFaults({ read_error_at: 9 * 1_048_576 });
  const whole = await withNbdkit(copyWhole);
  assert.match(whole.output, /asynchronous read failed: A file access error occurred/);
  assert.doesNotMatch(whole.output, /^SAME$/m);
  await vddk.setFaults({ read_error_at: 9 * 1_048_576, only: "another disk" });
  assert.match((await withNbdkit(copyWhole)).output, /^SAME$/m);
});

test("a crash takes the process down after the given number of reads", async () => {
  await vddk.setFaults({ crash_after: 5 });
  const { output } = await withNbdkit(copyWhole);
  assert.match(output, /signal 6/);
});

test("a host that goes away is a lost connection for the reads that follow", async () => {
  await vddk.setFaults({ drop_after: 5 });
  const { output } = await withNbdkit(copyWhole);
  assert.match(output, /asynchronous read failed: The connection was lost/);
});

test("hung reads go on once the fault is taken away", async () => {
  await vddk.setFaults({ hang_after: 3 });
  const copying = withNbdkit(copyWhole);
  while (nfc.connectionCount === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  const early = await Promise.race([
    copying,
    new Promise((resolve) => setTimeout(() => resolve("still hanging"), 700)),
  ]);
  assert.equal(early, "still hanging");
  await vddk.setFaults({});
  assert.match((await copying).output, /^SAME$/m);
});

test("writing is refused, and the snapshot stays as it was", async () => {
  const before = (await stat(image)).mtimeMs;
  await assert.rejects(run("nbdkit", ["-U", "-", vddk.plugin, `libdir=${vddk.libdir}`]));
  const { output } = await withNbdkit('nbdcopy image.raw "$uri"');
  assert.match(output, /read-?only/i);
  assert.equal((await stat(image)).mtimeMs, before);
});
