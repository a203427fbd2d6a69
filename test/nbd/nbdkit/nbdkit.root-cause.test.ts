import assert from "node:assert/strict";
import { appendFile, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { Readable } from "node:stream";
import { test } from "node:test";
import type { ErrorCode } from "../../../src/errors.ts";
import { recogniseCause } from "../../../src/nbd/nbdkit/causes.ts";
import type { VddkSource } from "../../../src/nbd/nbdkit/command.ts";
import { startNbdkit } from "../../../src/nbd/nbdkit/nbdkit.ts";
import { NbdkitOutput } from "../../../src/nbd/nbdkit/output.ts";
import { until } from "../../until.ts";
import {
  diskPath,
  exportSize,
  makeVddkFixture,
  recordingLogger,
  thumbprint,
  type VddkFixture,
} from "../vddk-fixture.ts";

/** The real plugin, a client that gets no more than "no export named ''", and what we make of it. */
async function causeOf(fixture: VddkFixture, change: Partial<VddkSource> = {}) {
  const { scratch, log } = fixture;
  const source = { ...fixture.source, ...change };
  await using nbdkit = await startNbdkit(source, { logger: log.logger, tempDir: scratch.dir });
  await assert.rejects(exportSize(nbdkit.uri), /No such file or directory/);
  await until("a cause", () => nbdkit.rootCause());
  const cause = nbdkit.rootCause();
  assert.ok(cause);
  assert.ok(cause.message.startsWith(`${source.diskPath}: `), cause.message);
  assert.ok(!cause.message.includes("\n"));
  assert.ok(log.text().includes(JSON.stringify(cause.context.line).slice(1, -1)));
  return cause;
}

test("a closed port 902 names host and port", async () => {
  await using fixture = await makeVddkFixture();
  const endpoint = fixture.nfc.endpoint;
  await fixture.nfc.stop();
  const cause = await causeOf(fixture);
  assert.equal(cause.code, "source-unreachable");
  assert.ok(cause.message.includes(`cannot connect to host ${endpoint}`), cause.message);
  assert.equal(cause.context.host, endpoint);
});

test("a host whose name does not resolve is named", async () => {
  await using fixture = await makeVddkFixture();
  await useNfcEndpoint(fixture, "esx7.invalid:902");
  const cause = await causeOf(fixture);
  assert.equal(cause.code, "source-unreachable");
  assert.match(cause.message, /name of ESXi host esx7\.invalid cannot be resolved/);
});

test("an authd that accepts and stays silent names the host", async () => {
  await using fixture = await makeVddkFixture();
  const silent = createServer((socket) => socket.end("nothing useful\r\n"));
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const address = silent.address();
  assert.ok(address && typeof address === "object");
  await useNfcEndpoint(fixture, `127.0.0.1:${address.port}`);
  const cause = await causeOf(fixture).finally(() => silent.close());
  assert.equal(cause.code, "source-unreachable");
  assert.match(cause.message, /vmware-authd socket/);
  assert.equal(cause.context.host, `127.0.0.1:${address.port}`);
});

test("a wrong password is a refused login, and neither password shows", async () => {
  await using fixture = await makeVddkFixture();
  const cause = await causeOf(fixture, { password: "wr0ng-s3cret" });
  assert.equal(cause.code, "source-login");
  assert.match(cause.message, /incorrect user name or password/);
  assert.ok(!fixture.log.text().includes("wr0ng"));
});

test("another certificate shows both thumbprints", async () => {
  await using fixture = await makeVddkFixture();
  const other = thumbprint.replaceAll("A", "C");
  const cause = await causeOf(fixture, { thumbprintSha1: other });
  assert.equal(cause.code, "source-thumbprint");
  assert.ok(cause.message.includes(thumbprint) && cause.message.includes(other), cause.message);
});

test("a removed snapshot and an unknown disk are told as such", async () => {
  await using fixture = await makeVddkFixture();
  for (const change of [{ snapshotMoref: "snapshot-99" }, { diskPath: "[ds] no/such.vmdk" }]) {
    const cause = await causeOf(fixture, change);
    assert.equal(cause.code, "source-open");
    assert.match(cause.message, /snapshot or the disk in it does not exist|no such disk/);
  }
});

test("an open that only says Unknown error points to the thumbprint", async () => {
  await using fixture = await makeVddkFixture();
  await fixture.lab.setFaults({ open_error: 1 });
  const cause = await causeOf(fixture);
  assert.equal(cause.code, "source-open");
  assert.match(cause.remedy, /thumbprint/);
});

test("a failure that a later open made good is no cause any more", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch, log } = fixture;
  await fixture.lab.setFaults({ nfc_refuse: 1, nfc_refuse_count: 1 });
  await using nbdkit = await startNbdkit(source, { logger: log.logger, tempDir: scratch.dir });
  await assert.rejects(exportSize(nbdkit.uri));
  await until("a cause", () => nbdkit.rootCause()?.code === "source-unreachable");
  await exportSize(nbdkit.uri);
  await until("no cause", () => nbdkit.rootCause() === undefined);
});

test("an unwritable VDDK parameter is refused before anything runs", async () => {
  await using fixture = await makeVddkFixture();
  const { scratch, log } = fixture;
  const options = { logger: log.logger, tempDir: scratch.dir };
  await assert.rejects(startNbdkit({ ...fixture.source, password: "two\nlines" }, options), {
    code: "source-login",
    message: /line break/,
  });
  await assert.rejects(startNbdkit({ ...fixture.source, diskPath: "[ds] a\0b" }, options), {
    code: "source-open",
    message: /parameter file holds a NUL/,
  });
});

const vddk = "nbdkit: vddk[1]: error: ";
const vddkDebug = "nbdkit: vddk[2]: debug: ";

/** Lines from public trackers and manuals, and the code they must lead to. */
const knownLines: [line: string, code: ErrorCode, message: RegExp][] = [
  [
    `${vddkDebug}CnxOpenTCPSocket: Timed out connecting to server esx7:902: Operation now in progress`,
    "source-unreachable",
    /cannot connect to host esx7:902/,
  ],
  [
    `${vddkDebug}NBD_ClientOpen: Couldn't connect to esx7.example:902 Failed to connect to server esx7.example:902`,
    "source-unreachable",
    /cannot connect to host esx7\.example:902/,
  ],
  [
    `${vddk}[NFC ERROR]NfcNewAuthdConnectionEx: Failed to connect to peer. Error: Failed to connect to server [fd00:902::7]:902`,
    "source-unreachable",
    /cannot connect to host \[fd00:902::7\]:902/,
  ],
  [
    `${vddk}VixDiskLib_Open: [ds] a/a.vmdk: Cannot connect to host esx7:902`,
    "source-unreachable",
    /cannot connect to host esx7:902/,
  ],
  [
    `${vddk}VixDiskLib_Open: [ds] a/a.vmdk: The server refused connection`,
    "source-unreachable",
    /refused connection/,
  ],
  [
    `${vddk}[NFC ERROR]NfcNewAuthdConnectionEx: Failed to connect: Error reading from vmware-authd socket. Reason: Resource temporarily unavailable`,
    "source-unreachable",
    /vmware-authd/,
  ],
  [
    `${vddkDebug}VixDiskLibVim: Failed to verify SSL certificate: actual thumbprint=B2:31 expected=12`,
    "source-thumbprint",
    /thumbprint B2:31, not 12/,
  ],
  [
    `${vddk}VixDiskLib_Open: [ds] a/a.vmdk: The host certificate chain is not complete`,
    "source-thumbprint",
    /certificate/,
  ],
  [
    `${vddkDebug}VixDiskLibVim: Login failure. Callback error 3014.`,
    "source-login",
    /Login failure/,
  ],
  [
    `${vddk}VixDiskLib_ConnectEx: Cannot complete login due to an incorrect user name or password`,
    "source-login",
    /incorrect user name/,
  ],
  [
    `${vddk}VixDiskLib_Open: [ds] a/a.vmdk: You do not have access rights to this file`,
    "source-login",
    /access to the disk was refused/,
  ],
  [
    `${vddk}[NFC ERROR] NfcFssrvrProcessErrorMsg: received NFC error 5 from server: Failed to allocate the requested 2097176 bytes`,
    "source-open",
    /no room for another NFC connection/,
  ],
  [
    `${vddk}VixDiskLib_Open: [ds] a/a.vmdk: A file was not found`,
    "source-open",
    /no such disk or snapshot/,
  ],
  [
    `${vddk}VixDiskLib_ConnectEx: One of the parameters was invalid`,
    "source-open",
    /One of the parameters was invalid/,
  ],
  [
    "nbdkit: vddk.4: error: command 7: asynchronous read failed: The connection was lost",
    "source-io",
    /reading failed/,
  ],
  [
    "nbdkit: error: /opt/vddk/lib64/libvixDiskLib.so.8: cannot open shared object file: No such file or directory",
    "vddk-library-missing",
    /libvixDiskLib/,
  ],
  [
    "nbdkit: error: cannot open plugin 'vddk': /usr/lib/nbdkit-vddk-plugin.so: cannot open shared object file",
    "vddk-plugin-missing",
    /VDDK plugin/,
  ],
];

for (const [line, code, message] of knownLines) {
  test(`this line means ${code}: ${line}`, () => {
    const cause = recogniseCause(line);
    assert.equal(cause?.code, code);
    assert.match(cause.message, message);
    assert.equal(cause.line, line);
  });
}

test("lines of a healthy start and open are no causes", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch, log } = fixture;
  await using nbdkit = await startNbdkit(
    { ...source, diskPath: source.diskPath },
    { logger: log.logger, tempDir: scratch.dir },
  );
  await exportSize(nbdkit.uri);
  await until("a closed disk", () => log.text().includes("VixDiskLib_Close"));
  assert.deepEqual(log.lines.map(({ msg }) => recogniseCause(msg)).filter(Boolean), []);
});

test("informative debug lines are no causes", () => {
  for (const text of [
    "NBD_ClientOpen: attempting to create connection to vpxa-nfcssl://[ds] a/a.vmdk@esx7:902",
    "CnxConnect: connecting to server esx7:902",
    "vddk: config key=file, value=[ds] Login failed/incorrect password.vmdk",
    "VDDK call: VixDiskLib_Open (connection, [ds] too many connections.vmdk, 4, &handle)",
  ]) {
    assert.equal(recogniseCause(`${vddkDebug}${text}`), undefined, text);
  }
});

test("the cause nearest to the root wins, whatever the order", () => {
  const lines = [
    `${vddk}VixDiskLib_Open: [ds] a/a.vmdk: Insufficient permissions in the host operating system`,
    `nbdkit: vddk[1]: debug: VixDiskLibVim: Failed to verify SSL certificate: actual thumbprint=AA expected=BB`,
    `${vddk}VixDiskLib_Open: [ds] a/a.vmdk: Unknown error`,
  ];
  for (const order of [lines, lines.toReversed()]) {
    const output = makeOutput([]).output;
    for (const line of order) output.take(line);
    assert.equal(output.rootCause()?.code, "source-thumbprint");
  }
});

const failedRead =
  "nbdkit: error: command 2: asynchronous read failed: You do not have access rights to this file";
const openDisk = "nbdkit: vddk[10]: debug: transport mode: nbdssl";

test("a disk that opens says nothing about a read that failed, whichever is heard of first", () => {
  for (const lines of [
    [failedRead, openDisk],
    [openDisk, failedRead],
  ]) {
    const { output } = makeOutput([]);
    for (const line of lines) output.take(line);
    assert.match(output.readFailure()?.message ?? "", /You do not have access rights/);
    assert.equal(output.rootCause(), undefined);
  }
});

test("of reads that failed the last one counts, with what VDDK said before it since the disk opened", () => {
  const { output } = makeOutput([]);
  const noRoom =
    "nbdkit: error: [NFC ERROR] NfcFssrvrProcessErrorMsg: received NFC error 5 from server: Failed to allocate the requested 2097176 bytes";
  output.take(noRoom);
  output.take("nbdkit: error: command 1: asynchronous read failed: Memory allocation failed.");
  assert.match(output.readFailure()?.message ?? "", /no room for another NFC connection/);
  output.take(openDisk);
  output.take("nbdkit: error: command 3: asynchronous read failed: A file access error occurred");
  assert.match(output.readFailure()?.message ?? "", /command 3: .* A file access error/);
});

test("a secret is cut out in every form, also where an overlong line is cut", () => {
  const secret = 'p<&"ä w0rd';
  const { output, log } = makeOutput([secret]);
  const forms = [secret, 'p&lt;&amp;"ä w0rd', encodeURIComponent(secret), JSON.stringify(secret)];
  for (const form of forms)
    output.take(`nbdkit: vddk[1]: error: VixDiskLib_Open: ${form} was wrong`);
  for (let at = 4_050; at < 4_130; at++) {
    output.take(`${"x".repeat(at)}${secret}${secret} ${"y".repeat(9_000)}`.slice(0, 4_096 + 40));
  }
  const text = `${log.text()} ${output.rootCause()?.message} ${output.lastWords()}`;
  assert.ok(!text.includes("w0rd"), "the end of the secret shows");
  assert.ok(!text.includes("p<&"), "the start of the secret shows");
});

test("megabytes without a line break, and binary noise, cost no memory and no crash", async () => {
  const { output, log } = makeOutput(["s3cret"]);
  const noise = Readable.from(
    (function* () {
      for (let i = 0; i < 400; i++) yield Buffer.alloc(65_536, i);
      yield Buffer.from("\nnbdkit: error: VixDiskLib_InitEx: the end\n");
    })(),
  );
  output.follow(noise);
  await until("the end", () => output.rootCause());
  assert.match(output.rootCause()?.message ?? "", /the end/);
  assert.ok(log.lines.every(({ msg }) => msg.length <= 4_096 + 64));
});

function makeOutput(secrets: string[]) {
  const log = recordingLogger();
  return { log, output: new NbdkitOutput({ logger: log.logger, secrets, diskPath }) };
}

async function useNfcEndpoint(fixture: VddkFixture, endpoint: string): Promise<void> {
  const path = join(fixture.scratch.dir, "vddk/credentials");
  const [user, pass, print] = (await readFile(path, "utf8")).split("\n");
  await writeFile(path, "");
  await appendFile(path, `${user}\n${pass}\n${print}\n${endpoint}\n`);
}
