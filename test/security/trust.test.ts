// Whom the program trusts, from the command line to VDDK: a TLS front shows certificates of every
// kind before the laboratory's vCenter, and the stand-in VDDK checks the thumbprint that it is given.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { assertEqualTargets, assertFailure, assertNoSnapshot } from "../e2e/migrate-checks.ts";
import { type CliResult, startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { writeVddkCredentials } from "../lab/vddk/install.ts";
import { type Leaf, makeCertificates } from "../vmware/certificates.ts";
import { startTlsFront, type TlsFront } from "./tls-front.ts";

const made = makeCertificates();
let lab: Lab;
let vm: LabVm;
let front: TlsFront;
/** Each test has its own memory of certificates. */
let stateDir: string;
let number = 0;

before(async () => {
  lab = await startLab({
    targets: "direct",
    vms: [
      { name: "trust01", disks: [{ capacityBytes: 2 << 20, fill: { seed: 1, dataRatio: 0.5 } }] },
    ],
  });
  vm = lab.vm("trust01");
  front = await startTlsFront(made.selfSigned, lab.vcenter.endpoint);
});
after(async () => {
  await front[Symbol.asyncDispose]();
  await lab.stop();
  made[Symbol.dispose]();
});
beforeEach(() => {
  stateDir = join(lab.dir, `state-${number++}`);
});

/** What the endpoint shows from now on, and what the host that holds the disks expects VDDK to have checked. */
async function show(leaf: Leaf, vddkExpects = leaf.sha1): Promise<void> {
  front.present(leaf);
  const { username, password } = lab.vcenter;
  const credentials = { username, password, thumbprintSha1: vddkExpects, nfc: lab.nfc.endpoint };
  await writeVddkCredentials(lab.dir, credentials);
}

/** `migrate` through the front, with the trust flags given and no others. */
async function migrate(...flags: string[]): Promise<CliResult> {
  const args = lab.migrateArgs(vm);
  args.splice(args.indexOf("--vmware-thumbprint"), 2);
  args[args.indexOf("--vmware-endpoint") + 1] = front.endpoint;
  args[args.indexOf("--state-dir") + 1] = stateDir;
  return await startCli({ args: [...args, ...flags], env: { CLOUDSTACK_API_URL: lab.oma.url } })
    .result;
}

/** The run ends equal; VDDK was given the thumbprint of the certificate that the front showed. */
async function migratesWell(...flags: string[]): Promise<string> {
  const run = await migrate(...flags);
  assert.equal(run.code, 0, run.stderr);
  await assertEqualTargets(lab, vm);
  return run.stderr;
}

async function refused(cause: RegExp, remedy: RegExp, ...flags: string[]): Promise<void> {
  await front.allClosed();
  const bytesBefore = front.applicationBytes;
  const connectionsBefore = front.connections;
  const run = await migrate(...flags);
  assertFailure(run, 3, cause, remedy);
  await front.allClosed();
  assert.equal(front.applicationBytes - bytesBefore, 0, "not one application byte was sent");
  assert.equal(front.connections - connectionsBefore, 1);
  assertNoSnapshot(vm);
}

test("first use: remembered with a warning that shows it; the same again: without; a changed one: refused until accepted", async () => {
  await show(made.selfSigned);
  assert.match(
    await migratesWell(),
    new RegExp(`trusted on first use and remembered: SHA-256 ${made.selfSigned.sha256}`),
  );
  assert.doesNotMatch(await migratesWell(), /first use|remembered/);

  await show(made.otherSelfSigned);
  const changed = new RegExp(
    `\\[vsphere-certificate\\].*changed: remembered SHA-256 ${made.selfSigned.sha256}, seen SHA-256 ${made.otherSelfSigned.sha256}`,
  );
  const accept = new RegExp(`--vmware-thumbprint ${made.otherSelfSigned.sha256}`);
  await refused(changed, accept);
  await refused(changed, accept);

  const accepted = await migratesWell("--vmware-thumbprint", made.otherSelfSigned.sha256);
  assert.match(accepted, /remembered for .* is replaced by the one given/);
  assert.doesNotMatch(await migratesWell(), /first use|replaced/);

  await show(made.selfSigned);
  await refused(
    new RegExp(`remembered SHA-256 ${made.otherSelfSigned.sha256}`),
    /--vmware-thumbprint/,
  );
});

test("a thumbprint that was given once is remembered, as SHA-1 too", async () => {
  await show(made.selfSigned);
  await migratesWell("--vmware-thumbprint", made.selfSigned.sha1.toLowerCase().replaceAll(":", ""));
  assert.doesNotMatch(await migratesWell(), /first use/);
  await show(made.otherSelfSigned);
  await refused(/changed: remembered/, /--vmware-thumbprint/);
});

test("a proxy's certificate, with the right one pinned, gets no application byte", async () => {
  await show(made.otherSelfSigned);
  const { sha1, sha256 } = made.selfSigned;
  await refused(/expected SHA-1 .*seen SHA-1/, /Compare/, "--vmware-thumbprint", sha1);
  await refused(/expected SHA-256 .*seen SHA-256/, /Compare/, "--vmware-thumbprint", sha256);
  const insecure = ["--vmware-thumbprint", sha256, "--vmware-insecure"];
  await refused(/expected SHA-256/, /Compare/, ...insecure);
});

test("an expired certificate and one with another name are refused under their CA and accepted by their pin", async () => {
  const withCa = ["--vmware-ca-file", made.caFile];
  await show(made.expired);
  await refused(/not valid under .*EXPIRED/i, /Compare/, ...withCa);
  await migratesWell("--vmware-thumbprint", made.expired.sha256);
  await show(made.otherName);
  await refused(/not valid under .*ALTNAME/, /Compare/, ...withCa);
  await migratesWell("--vmware-thumbprint", made.otherName.sha256);
});

test("a certificate that the CA file vouches for needs no pin, and its renewal no attention", async () => {
  await show(made.valid);
  const withCa = ["--vmware-ca-file", made.caFile];
  assert.doesNotMatch(await migratesWell(...withCa), /first use|insecure/);
  await show(made.selfSigned);
  await refused(/not valid under/, /Compare/, ...withCa);
  await refused(/not valid under/, /Compare/, ...withCa, "--vmware-insecure");
});

test("--vmware-insecure takes anything and shouts, and remembers nothing", async () => {
  await show(made.selfSigned);
  await migratesWell();
  await show(made.otherSelfSigned);
  const shouted = await migratesWell("--vmware-insecure");
  assert.match(shouted, /WAS NOT CHECKED/);
  assert.ok(shouted.includes(`Seen: SHA-256 ${made.otherSelfSigned.sha256}`));
  assert.ok(shouted.includes(`remembered was SHA-256 ${made.selfSigned.sha256}`));
  await refused(/changed: remembered/, /--vmware-thumbprint/);
});

test("VDDK is given the thumbprint that was verified, so that another host behind it is refused too", async () => {
  await show(made.selfSigned, made.otherSelfSigned.sha1);
  const run = await migrate("--vmware-thumbprint", made.selfSigned.sha256);
  assertFailure(run, 4, /\[source-thumbprint\]/);
  assertNoSnapshot(vm);
});

test("thumbprints and CA files that are none are usage errors that name the flag, before any connection", async () => {
  const before = front.connections;
  const pem = join(lab.dir, "no.pem");
  writeFileSync(pem, readFileSync(made.caFile, "utf8").replace(/[A-Z]{4}/, "...."));
  for (const [flag, value] of [
    ["--vmware-thumbprint", "AB:CD"],
    ["--vmware-thumbprint", "rm -rf /"],
    ["--vmware-ca-file", "/nonexistent"],
    ["--vmware-ca-file", "/dev/null"],
    ["--vmware-ca-file", pem],
  ] as const) {
    const run = await migrate(flag, value);
    assert.equal(run.code, 2, `${flag} ${value}: ${run.stderr}`);
    assert.match(run.stderr, /error \[usage\]/);
  }
  assert.equal(front.connections, before);
});
