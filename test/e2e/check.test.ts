import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { VmLock } from "../../src/state/lock/lock.ts";
import type { NbdServer } from "../lab/nbd-server.ts";
import { findFreePort } from "../lab/ports.ts";
import { startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import { createVolume, startNbdServer } from "../lab/targets.ts";
import type { VmSpec } from "../lab/vcenter/vm-spec.ts";
import { until } from "../until.ts";
import { hasJournal, nfcPort, runCommand, startCommand } from "./cli-commands.ts";
import { migrateWell } from "./migrate-checks.ts";
import { preflightHere } from "./preflight.ts";

const usage = 2;
const vsphere = 3;
const source = 4;
const target = 5;
const store = 6;
const locked = 7;
const mebibyte = 1 << 20;

type Variables = Record<string, string>;

interface Checked {
  status: string;
  exit_code: number;
  findings: { area: string; level: string; message: string; remedy?: string; code?: string }[];
  disks: {
    disk_id: string;
    type: string;
    reason: string;
    bytes_at_most?: number;
    usual_bytes?: number;
  }[];
  estimate?: { seconds: number; runs: number };
}

const small = { capacityBytes: 2 * mebibyte, fill: { seed: 1, dataRatio: 0.5, zeroRatio: 0 } };
const vms: VmSpec[] = [
  { name: "good01", disks: [small] },
  { name: "two01", disks: [small, small] },
  { name: "used01", disks: [small] },
  { name: "other01", disks: [small] },
  { name: "locked01", disks: [small] },
  { name: "old01", hardwareVersion: 4, disks: [small] },
  { name: "toolless01", tools: "notRunning", disks: [small] },
  { name: "encrypted01", encrypted: true, disks: [small] },
  { name: "independent01", disks: [small, { ...small, mode: "independent_persistent" }] },
  { name: "rdm01", disks: [small, { ...small, backing: "rdmPhysical" }] },
  { name: "multiwriter01", disks: [{ ...small, sharing: "sharingMultiWriter" }] },
  { name: "bus01", sharedBuses: { 0: "physicalSharing" }, disks: [small] },
  { name: "far01", host: "no-such-host.invalid", disks: [small] },
];

let lab: Lab;
let closedPort: number;
let other: NbdServer;
before(async () => {
  lab = await startLab({
    targets: "direct",
    vms,
    vcenter: {
      hosts: ["localhost", "no-such-host.invalid"],
      users: [
        "VirtualMachine.State.CreateSnapshot",
        "VirtualMachine.Provisioning.DiskRandomRead",
        "VirtualMachine.Interact.PowerOff",
      ]
        .map((privilege) => ({ username: userWithout(privilege), missing: [privilege] }))
        .concat({ username: "readonly@vsphere.local", missing: ["*"] })
        .map(({ username, missing }) => ({
          username,
          password: "lab-Secret-42",
          missingPrivileges: missing,
        })),
    },
  });
  closedPort = await findFreePort();
  const file = (name: string) => join(lab.dir, name);
  await createVolume(file("small.raw"), 1024);
  await createVolume(file("read-only.raw"), 4 * mebibyte);
  other = await startNbdServer({
    folder: file("other-targets"),
    exports: [
      { name: "small", file: file("small.raw") },
      { name: "read-only", file: file("read-only.raw"), readOnly: true },
    ],
  });
  await mkdir(join(lab.dir, "open-state"));
  await chmod(join(lab.dir, "open-state"), 0o777);
  await mkdir(join(lab.dir, "damaged-state"), { mode: 0o700 });
  await writeFile(join(lab.dir, "damaged-state/migratekit.db"), "no database", { mode: 0o600 });
});
after(async () => {
  await other.stop();
  await lab.stop();
});

function userWithout(privilege: string): string {
  return `without-${privilege.split(".").at(-1)}@vsphere.local`;
}

/** A state directory that is not there must not be there afterwards either. */
function argsFor(name: string, extra: readonly string[], jobId?: string): string[] {
  const [, ...args] = lab.migrateArgs(lab.vm(name), {
    extra: ["--json", "--state-dir", join(lab.dir, "never-made"), ...extra],
    ...(jobId && { jobId }),
  });
  return ["check", ...args];
}

async function check(name = "good01", extra: readonly string[] = [], env: Variables = {}) {
  const variables = { MIGRATEKIT_VDDK_NFC_PORT: nfcPort(lab), ...env };
  const run = await startCli({ args: argsFor(name, extra), env: variables }).result;
  assert.ok(!existsSync(join(lab.dir, "never-made")), "no state directory is made");
  assert.match(run.stdout, /^\{/, run.stderr);
  return { ...run, ...(JSON.parse(run.stdout) as Checked) };
}

/** The same without a process of its own, for the sake of time. */
async function checkHere({ vm = "good01", flags, env, jobId }: Case) {
  const found = await preflightHere(argsFor(vm, flags?.() ?? [], jobId), {
    MIGRATEKIT_VDDK_NFC_PORT: nfcPort(lab),
    ...env?.(),
  });
  assert.ok(!existsSync(join(lab.dir, "never-made")), "no state directory is made");
  return found;
}

interface Case {
  title: string;
  vm?: string;
  flags?: () => string[];
  env?: () => Record<string, string>;
  jobId?: string;
  /** 0: a warning. */
  code: number;
  finding: RegExp;
  remedy?: RegExp;
}

const cases: Case[] = [
  {
    title: "an endpoint that refuses connections",
    flags: () => ["--vmware-endpoint", `127.0.0.1:${closedPort}`],
    code: vsphere,
    finding: /vsphere-unreachable.*refused/i,
  },
  {
    title: "an endpoint whose name does not resolve",
    flags: () => ["--vmware-endpoint", "no-such-vcenter.invalid"],
    code: vsphere,
    finding: /vsphere-unreachable.*no-such-vcenter.invalid/,
  },
  {
    title: "a certificate that is not the pinned one",
    flags: () => ["--vmware-thumbprint", "00:".repeat(19).concat("00")],
    code: vsphere,
    finding: /vsphere-certificate/,
  },
  {
    title: "a login that is refused",
    flags: () => ["--vmware-username", "nobody@vsphere.local"],
    code: vsphere,
    finding: /vsphere-login/,
  },
  {
    title: "a VM that is not there, with near matches",
    flags: () => ["--vmware-path", "/Datacenter/vm/goood01"],
    code: vsphere,
    finding: /vm-not-found.*good01/,
  },
  {
    title: "an account that may only read, each privilege by its name",
    flags: () => ["--vmware-username", "readonly@vsphere.local"],
    code: vsphere,
    finding: /vsphere-permission.*VirtualMachine\.Config\.ChangeTracking/,
    remedy: /Add VirtualMachine\.Config\.ChangeTracking/,
  },
  ...["VirtualMachine.State.CreateSnapshot", "VirtualMachine.Provisioning.DiskRandomRead"].map(
    (privilege) => ({
      title: `an account without ${privilege}`,
      flags: () => ["--vmware-username", userWithout(privilege)],
      code: vsphere,
      finding: new RegExp(`vsphere-permission.*${privilege}`),
    }),
  ),
  {
    title: "a missing nbdkit",
    flags: () => ["--nbdkit", "/nonexistent/nbdkit"],
    code: source,
    finding: /nbdkit-missing/,
  },
  {
    title: "a missing VDDK plugin",
    flags: () => ["--vddk-plugin", "/nonexistent/plugin.so"],
    code: source,
    finding: /vddk-plugin-missing/,
  },
  {
    title: "a missing VDDK",
    flags: () => ["--vddk-libdir", "/nonexistent"],
    code: source,
    finding: /vddk-library-missing/,
  },
  {
    title: "a missing VDDK configuration",
    flags: () => ["--vddk-config", "/nonexistent"],
    code: usage,
    finding: /usage.*VDDK configuration/,
  },
  {
    title: "a closed NFC port of the ESXi host",
    env: () => ({ MIGRATEKIT_VDDK_NFC_PORT: `${closedPort}` }),
    code: source,
    finding: /source-unreachable.*localhost/,
    remedy: /902/,
  },
  {
    title: "a closed NFC port where hotadd may do without it",
    flags: () => ["--vddk-transports", "hotadd:nbdssl"],
    env: () => ({ MIGRATEKIT_VDDK_NFC_PORT: `${closedPort}` }),
    code: 0,
    finding: /cannot be reached on port \d+: .*; hotadd alone would have to do/,
    remedy: /leave nbdssl and nbd out of --vddk-transports/,
  },
  {
    title: "an account that could not shut the VM down in a cutover",
    flags: () => ["--vmware-username", userWithout("VirtualMachine.Interact.PowerOff")],
    code: 0,
    finding: /VirtualMachine\.Interact\.PowerOff is missing: a cutover would fail/,
  },
  {
    title: "an ESXi host whose name does not resolve",
    vm: "far01",
    code: source,
    finding: /source-unreachable.*no-such-host\.invalid/,
  },
  {
    title: "a target that refuses connections",
    flags: () => ["--nbd-port", `${closedPort}`],
    code: target,
    finding: /target-unreachable/,
  },
  {
    title: "an export that is not there",
    flags: () => ["--nbd-export-name", "no-such-volume"],
    code: target,
    finding: /target-refused.*no-such-volume/,
  },
  {
    title: "a target that is too small",
    flags: () => ["--nbd-port", `${other.port}`, "--nbd-export-name", "small"],
    code: target,
    finding: /target-too-small/,
  },
  {
    title: "a target that is read-only",
    flags: () => ["--nbd-port", `${other.port}`, "--nbd-export-name", "read-only"],
    code: target,
    finding: /target-read-only/,
  },
  {
    title: "two disks on one target",
    vm: "two01",
    flags: () => {
      const [disk] = lab.targets.disksOf(lab.vm("two01"));
      return ["--nbd-targets", `2000:${disk!.exportUri},2001:${disk!.exportUri}`];
    },
    code: usage,
    finding: /usage.*would both be written to/,
  },
  {
    title: "one export for two disks, with a line to paste",
    vm: "two01",
    flags: () => ["--nbd-export-name", "one"],
    code: usage,
    finding: /usage.*one export, but the VM has 2 disks/,
    remedy: /--nbd-targets '2000:nbd/,
  },
  {
    title: "malformed --nbd-targets",
    flags: () => ["--nbd-targets", "2000=nbd://host/x"],
    code: usage,
    finding: /usage.*--nbd-targets, entry 1/,
  },
  {
    title: "an independent disk",
    vm: "independent01",
    code: vsphere,
    finding: /vm-unsuitable.*disk-2001.*independent_persistent/,
    remedy: /--skip-disks 2001/,
  },
  {
    title: "a raw device mapping",
    vm: "rdm01",
    code: vsphere,
    finding: /vm-unsuitable.*disk-2001.*raw device mapping/,
  },
  {
    title: "a disk with several writers",
    vm: "multiwriter01",
    code: vsphere,
    finding: /vm-unsuitable.*disk-2000.*multiWriter/,
  },
  {
    title: "a bus that other VMs share",
    vm: "bus01",
    code: vsphere,
    finding: /vm-unsuitable.*disk-2000.*physicalBus/,
  },
  {
    title: "a disk to skip that the VM does not have",
    flags: () => ["--skip-disks", "2009"],
    code: usage,
    finding: /usage.*2009/,
    remedy: /2000/,
  },
  {
    title: "a change-ID store that cannot be read",
    env: () => ({
      MIGRATEKIT_JOB_ID: "r1",
      CLOUDSTACK_API_URL: `http://127.0.0.1:${closedPort}`,
    }),
    code: store,
    finding: /change-id-read/,
    remedy: /--full/,
  },
  {
    title: "a state directory that others can write to",
    flags: () => ["--state-dir", join(lab.dir, "open-state")],
    code: store,
    finding: /state-unusable.*others may write/,
  },
  {
    title: "a state directory that is a file",
    flags: () => ["--state-dir", lab.passwordFile],
    code: store,
    finding: /state-unusable/,
  },
  {
    title: "a damaged state database",
    flags: () => ["--state-dir", join(lab.dir, "damaged-state")],
    code: store,
    finding: /state-unusable.*migratekit\.db/,
  },
  {
    title: "a VM that another run works on",
    vm: "locked01",
    flags: () => ["--state-dir", join(lab.dir, "locked-state")],
    code: locked,
    finding: /locked.*process \d+/,
  },
  {
    title: "a VMA API that is away",
    flags: () => ["--vma-url", `http://127.0.0.1:${closedPort}`],
    jobId: "job-1",
    code: 0,
    finding: /VMA API.*ECONNREFUSED/,
  },
  { title: "hardware that cannot track", vm: "old01", code: 0, finding: /cannot track changed/ },
  { title: "Tools that do not run", vm: "toolless01", code: 0, finding: /crash-consistent only/ },
  { title: "an encrypted VM", vm: "encrypted01", code: 0, finding: /is encrypted/ },
];

describe("check finds, before anything is touched,", { concurrency: 2 }, () => {
  let lock: VmLock;
  before(() => {
    const { instanceUuid } = lab.vm("locked01").record;
    const place = { endpoint: lab.vcenter.endpoint, vmPath: lab.vm("locked01").path };
    lock = VmLock.acquire(join(lab.dir, "locked-state"), instanceUuid, place);
  });
  after(() => lock.release());

  for (const one of cases) {
    const { title, code, finding, remedy } = one;
    test(title, async () => {
      const run = await checkHere(one);
      const said = JSON.stringify(run.findings);
      assert.equal(run.code, code, said);
      const level = code === 0 ? "warning" : "problem";
      const found = run.findings.find(
        (item) => item.level === level && finding.test(`${item.code} ${item.message}`),
      );
      assert.ok(found, `${finding} in ${said}`);
      assert.match(found.remedy ?? "", remedy ?? /\S/);
    });
  }

  test("nothing wrong with a good VM: a run would start, and the plan is a full copy", async () => {
    const run = await check();
    assert.equal(run.code, 0, run.stdout);
    assert.equal(run.status, "ready");
    assert.deepEqual(
      run.findings.filter(({ level }) => level !== "ok"),
      [],
    );
    assert.equal(run.disks[0]!.type, "full");
    assert.equal(run.disks[0]!.bytes_at_most, 2 * mebibyte);
  });

  test("what the account may do is listed, what a cutover needs too", async () => {
    const { findings } = await checkHere({ title: "", code: 0, finding: /./ });
    const granted = findings.filter(({ area }) => area === "privileges");
    const messages = granted.map(({ level, message }) => `${level} ${message}`);
    assert.ok(messages.includes("ok VirtualMachine.State.CreateSnapshot granted"));
    assert.ok(messages.includes("ok VirtualMachine.Interact.PowerOff granted, for a cutover"));
  });

  for (const transports of ["hotadd", "san", "hotadd:san"]) {
    test(`with --vddk-transports ${transports} a closed port 902 is no matter`, async () => {
      const { findings, code } = await checkHere({
        ...{ title: "", code: 0, finding: /./ },
        flags: () => ["--vddk-transports", transports],
        env: () => ({ MIGRATEKIT_VDDK_NFC_PORT: `${closedPort}` }),
      });
      assert.equal(code, 0);
      const found = findings.filter(({ area }) => area === "host");
      assert.deepEqual(
        found.map(({ level, message }) => `${level} ${message}`),
        [`ok --vddk-transports ${transports} needs no way to port ${closedPort}`],
      );
    });
  }

  test("three faults at once, of three kinds, with the code of the first", async () => {
    const run = await check("independent01", [
      ...["--nbdkit", "/nonexistent/nbdkit"],
      ...["--nbd-port", `${closedPort}`],
    ]);
    const codes = run.findings.filter(({ level }) => level === "problem").map(({ code }) => code);
    assert.deepEqual(
      [...new Set(codes)],
      ["nbdkit-missing", "vm-unsuitable", "target-unreachable"],
    );
    assert.equal(run.code, source);
  });

  test("targets and tools too when vSphere cannot be reached", async () => {
    const run = await check("good01", [
      ...["--vmware-endpoint", `127.0.0.1:${closedPort}`],
      ...["--nbd-targets", `2000:nbd://127.0.0.1:${closedPort}/x`],
      ...["--vddk-libdir", "/nonexistent"],
    ]);
    const codes = run.findings.filter(({ level }) => level === "problem").map(({ code }) => code);
    assert.deepEqual(codes, ["vsphere-unreachable", "vddk-library-missing", "target-unreachable"]);
  });

  test("a temporary directory that is not there", async () => {
    const run = await check("good01", [], { TMPDIR: join(lab.dir, "not-there") });
    assert.equal(run.code, source);
    assert.ok(
      run.findings.some((one) => one.code === "source-open"),
      run.stdout,
    );
  });

  test("missing settings, all at once", async () => {
    const stateDir = join(lab.dir, "never-made");
    const run = await startCli({ args: ["check", "--json", "--state-dir", stateDir] }).result;
    const { findings } = JSON.parse(run.stdout) as Checked;
    assert.equal(run.code, usage);
    assert.match(findings[0]!.message, /--vmware-endpoint, --vmware-username, --vmware-password/);
  });
});

test("check finds what is wrong with the lab as a whole: licence, silent NFC, unknown certificate", async () => {
  lab.vcenter.faults.add({ name: "freeLicense" });
  lab.nfc.setSilent(true);
  const all = lab.migrateArgs(lab.vm("good01")).slice(1);
  const args = all.filter((_, at) => ![at, at - 1].some((i) => all[i] === "--vmware-thumbprint"));
  const stateDir = join(lab.dir, "never-made");
  const env = { MIGRATEKIT_VDDK_NFC_PORT: nfcPort(lab) };
  const run = await startCli({ args: ["check", ...args, "--state-dir", stateDir], env }).result;
  lab.nfc.setSilent(false);
  lab.vcenter.faults.clear();
  assert.equal(run.code, vsphere, run.stdout);
  assert.match(run.stdout, /^problem {2}vsphere .*free hypervisor.*\n +fix: /m);
  assert.match(run.stdout, /^warning {2}host .*says nothing.*\n +fix: /m);
  assert.match(run.stdout, /^warning {2}vsphere .*trust its certificate on first use.*\n +fix: /m);
  assert.match(run.stdout, /^A run would not start: 1 problem, \d warnings\.$/m);
  assert.equal(run.stderr, "", "no noise beside the findings");
  assert.ok(!existsSync(stateDir), "the certificate is not remembered");
});

test("all that was read only, in vSphere, at the VMA and at the OMA API", () => {
  assert.ok(lab.vcenter.log.calls.length > 100);
  assert.deepEqual(lab.vcenter.log.changes(), []);
  assert.deepEqual(lab.vma.updates, []);
  assert.deepEqual(
    lab.oma.calls.filter(({ method }) => method !== "GET"),
    [],
  );
});

test("the plan is what the next run does: incremental, full on a changed target, resume, with times", async () => {
  const vm = lab.vm("used01");
  const plan = async (...extra: string[]) => {
    const run = await runCommand(lab, "check", vm, { extra: ["--json", ...extra] });
    return { ...run, ...run.json<Checked>() };
  };
  await migrateWell(lab, vm);
  await vm.randomWrites(2000, { seed: 1, writes: 2, maximumBytes: 4096 });
  const summary = await migrateWell(lab, vm);
  const incremental = await plan();
  assert.equal(incremental.disks[0]!.type, "incremental", incremental.stdout);
  assert.equal(incremental.disks[0]!.usual_bytes, summary.disks[0]!.planned_bytes);
  assert.equal(incremental.estimate?.runs, 1);

  const [mine] = lab.targets.disksOf(vm);
  await writeFile(mine!.targetFile, Buffer.alloc(1024, 7), { flag: "r+" });
  const changed = await plan("--on-target-mismatch", "full");
  assert.equal(changed.code, 0);
  assert.equal(changed.disks[0]!.type, "full");
  assert.match(changed.disks[0]!.reason, /not what the last run left: it differs at offset 0/);
  const refused = await plan();
  assert.equal(refused.code, target);
  const [problem] = refused.findings.filter(({ level }) => level === "problem");
  assert.match(problem!.message, /not what the last run left/);
  assert.match(problem!.remedy ?? "", /--on-target-mismatch full/);

  await lab.vddk.setFaults({ delay_us: 400_000 });
  const { child, result } = startCommand(lab, "migrate", vm, { extra: ["--full"] });
  await until("the copy began", () => hasJournal(lab, vm));
  child.kill("SIGKILL");
  await result;
  await lab.vddk.setFaults({});
  lab.vcenter.log.clear();
  const resumed = await plan();
  assert.equal(resumed.code, 0, resumed.stdout);
  assert.equal(resumed.disks[0]!.type, "resume");
  const warnings = resumed.findings.filter(({ level }) => level === "warning");
  assert.match(warnings.map(({ message }) => message).join(), /was left by a run that died/);
  assert.deepEqual(lab.vcenter.log.changes(), []);
  await migrateWell(lab, vm);
});
