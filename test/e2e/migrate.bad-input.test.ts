import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { before, test } from "node:test";
import { findFreePort } from "../lab/ports.ts";
import { createVolume, startNbdServer } from "../lab/targets.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { assertFailure, assertNoSnapshot } from "./migrate-checks.ts";
import { lab, vm } from "./my-vm.ts";

let closedPort: number;
before(async () => {
  closedPort = await findFreePort();
});

const usage = 2;
const vsphere = 3;
const source = 4;
const target = 5;
const store = 6;

interface Case {
  title: string;
  vm?: string;
  /** Later flags beat earlier ones. */
  flags?: () => string[];
  env?: () => Record<string, string>;
  arrange?: () => void | Promise<void>;
  code: number;
  cause: RegExp;
  remedy?: RegExp;
}

const cases: Case[] = [
  {
    title: "an unknown VM, with near matches",
    flags: () => ["--vmware-path", "/Datacenter/vm/MyVN"],
    code: vsphere,
    cause: /\[vm-not-found\].*\/Datacenter\/vm\/MyVN.*\/Datacenter\/vm\/MyVM/,
  },
  {
    title: "a wrong password",
    flags: () => ["--vmware-password-file", wrongPasswordFile()],
    code: vsphere,
    cause: /\[vsphere-login\].*refused the login of admin@vsphere\.local/,
    remedy: /--vmware-username and the password/,
  },
  {
    title: "a password file without a password",
    flags: () => ["--vmware-password-file", "/dev/null"],
    code: usage,
    cause: /--vmware-password-file \/dev\/null: its first line is empty/,
  },
  {
    title: "a password that vSphere refuses",
    flags: () => ["--vmware-username", "nobody@vsphere.local"],
    code: vsphere,
    cause: /\[vsphere-login\]/,
  },
  {
    title: "a vCenter that cannot be reached",
    flags: () => ["--vmware-endpoint", `127.0.0.1:${closedPort}`],
    code: vsphere,
    cause: /\[vsphere-unreachable\].*refused/i,
  },
  {
    title: "a certificate that is not the pinned one",
    flags: () => ["--vmware-thumbprint", "00:".repeat(19).concat("00")],
    code: vsphere,
    cause: /\[vsphere-certificate\]/,
  },
  {
    title: "a closed port of the ESXi host",
    arrange: () => lab.vddk.setFaults({ nfc_refuse: 1 }),
    code: source,
    cause: /\[source-unreachable\]/,
    remedy: /902/,
  },
  {
    title: "credentials that VDDK refuses",
    arrange: () => lab.vddk.setFaults({ bad_credentials: 1 }),
    code: source,
    cause: /\[source-login\]/,
  },
  {
    title: "another certificate behind VDDK",
    arrange: () => lab.vddk.setFaults({ bad_thumbprint: 1 }),
    code: source,
    cause: /\[source-thumbprint\]/,
  },
  {
    title: "a target that refuses connections",
    flags: () => ["--nbd-port", `${closedPort}`],
    code: target,
    cause: /\[target-unreachable\]/,
  },
  {
    title: "an export that the target does not have",
    flags: () => ["--nbd-export-name", "no-such-volume"],
    code: target,
    cause: /\[target-refused\].*no-such-volume/,
  },
  {
    title: "two disks on one target",
    vm: "web01",
    flags: () => {
      const [disk] = lab.targets.disksOf(lab.vm("web01"));
      return ["--nbd-targets", `2000:${disk!.exportUri},2001:${disk!.exportUri}`];
    },
    code: usage,
    cause: /disk-2000 and disk-2001 would both be written to/,
  },
  {
    title: "one export for two disks, with a line to paste",
    vm: "web01",
    flags: () => ["--nbd-export-name", "one"],
    code: usage,
    cause: /one export, but the VM has 2 disks: disk-2000 .*disk-2001/,
    remedy: /--nbd-targets '2000:nbd:\/\/.*,2001:nbd:\/\//,
  },
  {
    title: "malformed --nbd-targets",
    flags: () => ["--nbd-targets", "2000=nbd://host/x"],
    code: usage,
    cause: /--nbd-targets, entry 1 \(2000=nbd:\/\/host\/x\)/,
  },
  {
    title: "a missing VDDK library",
    flags: () => ["--vddk-libdir", "/nonexistent"],
    code: source,
    cause: /\[vddk-library-missing\].*\/nonexistent/,
  },
  {
    title: "a missing nbdkit",
    flags: () => ["--nbdkit", "/nonexistent/nbdkit"],
    code: source,
    cause: /\[nbdkit-missing\].*\/nonexistent\/nbdkit/,
  },
  {
    title: "a missing plugin",
    flags: () => ["--vddk-plugin", "/nonexistent/plugin.so"],
    code: source,
    cause: /\[vddk-plugin-missing\]/,
  },
  {
    title: "an independent disk, named",
    vm: "independent01",
    code: vsphere,
    cause: /\[vm-unsuitable\].*disk-2001.*independent_persistent/,
    remedy: /--skip-disks 2001/,
  },
  {
    title: "a raw device mapping, named",
    vm: "rdm01",
    code: vsphere,
    cause: /\[vm-unsuitable\].*disk-2001.*raw device mapping/,
  },
  {
    title: "a change-ID store that cannot be read",
    env: () => ({
      MIGRATEKIT_JOB_ID: "r1",
      CLOUDSTACK_API_URL: `http://127.0.0.1:${closedPort}`,
    }),
    code: store,
    cause: /\[change-id-read\]/,
    remedy: /--full/,
  },
];

for (const { title, vm: name, flags, env, arrange, code, cause, remedy } of cases) {
  test(`refused, with cause and remedy: ${title}`, async () => {
    const machine = name === undefined ? vm : lab.vm(name);
    const before = contentOf(machine);
    await arrange?.();
    const run = await lab.migrate(machine, { extra: flags?.() ?? [] }, env?.() ?? {});
    assertFailure(run, code, cause, remedy);
    assertNoSnapshot(machine);
    assert.deepEqual(contentOf(machine), before, "nothing was written");
  });
}

test("refused before the first byte: targets that are too small or read-only", async () => {
  const small = `${lab.dir}/small.raw`;
  const closed = `${lab.dir}/read-only.raw`;
  await createVolume(small, 1 << 20);
  await createVolume(closed, 64 << 20);
  await using server = await startNbdServer({
    folder: `${lab.dir}/other-targets`,
    exports: [
      { name: "small", file: small },
      { name: "closed", file: closed, readOnly: true },
    ],
  });
  const migrate = (name: string) =>
    lab.migrate(vm, { extra: ["--nbd-port", `${server.port}`, "--nbd-export-name", name] });
  assertFailure(
    await migrate("small"),
    target,
    /\[target-too-small\].*1\.0 MiB.*less than disk-2000/,
  );
  assertFailure(await migrate("closed"), target, /\[target-read-only\]/);
  assertNoSnapshot(vm);
  assert.ok(readFileSync(small).every((byte) => byte === 0));
  assert.ok(readFileSync(closed).every((byte) => byte === 0));
});

test("unknown flags and missing ones end with the usage code and name the flag", async () => {
  const unknown = await lab.migrate(vm, { extra: ["--nbd-prot", "1"] });
  assert.equal(unknown.code, usage);
  assert.match(unknown.stderr, /--nbd-prot.*--nbd-port/);
});

function wrongPasswordFile(): string {
  const path = `${lab.dir}/wrong-password`;
  writeFileSync(path, "not-the-password\n", { mode: 0o600 });
  return path;
}

function contentOf(machine: LabVm): string[] {
  return lab.targets
    .disksOf(machine)
    .map(({ targetFile }) => createHash("sha256").update(readFileSync(targetFile)).digest("hex"));
}
