// A marker as password, given in each possible way, through runs of each kind: then a look at
// everything that could hold it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { assertEqualTargets } from "../e2e/migrate-checks.ts";
import { cliCommand, startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { until } from "../until.ts";
import { filesHolding, formsOf, holds, type Watch, watchTree } from "./process-watch.ts";

/** Written differently in JSON, XML, URLs and shells. */
const marker = `p&<"'$(id) ü;${randomBytes(12).toString("hex")}`;
const forms = formsOf(marker);
/** What each of node's and its libraries' own debug switches prints when on. */
const debugSwitches = {
  DEBUG: "*",
  NODE_DEBUG: "http,https,http2,net,tls,stream,timers,child_process,fs,undici,module",
};

let lab: Lab;
let vm: LabVm;
let temporary: string;
before(async () => {
  lab = await startLab({
    targets: "direct",
    vcenter: { password: marker },
    vms: [
      { name: "secret01", disks: [{ capacityBytes: 8 << 20, fill: { seed: 1, dataRatio: 1 } }] },
    ],
  });
  vm = lab.vm("secret01");
  temporary = mkdtempSync(join(tmpdir(), "migratekit-secrets-"));
});
after(async () => {
  await lab.stop();
  rmSync(temporary, { recursive: true, force: true });
});
beforeEach(async () => {
  lab.vcenter.faults.clear();
  await lab.vddk.setFaults({});
});

interface Outcome {
  code: number | null;
  stderr: string;
  watch: Watch;
}

/** Runs migrate with the password given in one way, and looks for it everywhere while it runs and afterwards. */
async function run(
  how: { args?: string[]; env?: Record<string, string> },
  jobId: string,
): Promise<Outcome> {
  const args = lab.migrateArgs(vm, { jobId, extra: ["--debug", "--json", ...(how.args ?? [])] });
  const at = args.indexOf("--vmware-password-file");
  args.splice(at, 2);
  const { child, result } = startCli({
    args,
    env: { CLOUDSTACK_API_URL: lab.oma.url, TMPDIR: temporary, ...how.env },
  });
  const watch = watchTree(child.pid!, forms, [temporary, lab.stateDir]);
  const { code, stdout, stderr } = await result;
  watch.stop();
  for (const [name, text] of Object.entries({ stdout, stderr })) {
    assert.ok(!holds(Buffer.from(text), forms), `${name} holds the password`);
  }
  assert.deepEqual(filesHolding(lab.stateDir, forms), []);
  assert.deepEqual(filesHolding(temporary, forms), []);
  const told = JSON.stringify([lab.vma.updates, [...lab.vma.jobs.values()]]);
  assert.ok(!holds(Buffer.from(told), forms), "the VMA API was told the password");
  assert.ok(watch.samples > 20, `${watch.samples} samples`);
  assert.ok(watch.coreFilters.size > 0, "nbdkit was seen");
  const filters = new Set([...watch.coreFilters.values()].filter((filter) => filter !== ""));
  assert.deepEqual([...filters], ["00000000"], "no memory of nbdkit goes into a core");
  return { code, stderr, watch };
}

/** Every place where the password was seen, without repetitions. */
function places(watch: Watch): string[] {
  return [...new Set(watch.sightings.map(({ what }) => what))];
}

test("a full run with the password by flag: in the process list only until the program begins", async () => {
  const connectionsBefore = lab.vcenter.connections;
  const { code, stderr, watch } = await run({ args: ["--vmware-password", marker] }, "by-flag");
  assert.equal(code, 0, stderr);
  assert.match(stderr, /--vmware-password shows the password to everybody/);
  assert.ok(lab.vcenter.connections > connectionsBefore);
  assertGoneForGood(watch);
  await assertEqualTargets(lab, vm);
});

test("the same with --vmware-password=…, in a run that VDDK's refusal ends", async () => {
  await lab.vddk.setFaults({ bad_credentials: 1 });
  const { code, stderr, watch } = await run(
    { args: ["--full", `--vmware-password=${marker}`] },
    "by-equals",
  );
  assert.equal(code, 4, stderr);
  assertGoneForGood(watch);
});

function assertGoneForGood(watch: Watch): void {
  assert.deepEqual(
    places(watch).filter((what) => what !== "cmdline"),
    [],
  );
  const lastSeen = watch.sightings.at(-1)?.atMs ?? 0;
  const firstClean = watch.cleanAtMs[0] ?? Number.NaN;
  // .ci/node is a shell for a moment, whose end and whose Node's beginning are different processes' images.
  assert.ok(lastSeen < firstClean, "seen again after it had been hidden");
  assert.ok(watch.cleanAtMs.length > 0, "hidden while it ran");
}

test("an incremental run with the password by variable: in no child's environment", async () => {
  await vm.write(2000, 65_536, Buffer.alloc(4096, 7));
  const { code, stderr, watch } = await run(
    { env: { MIGRATEKIT_VMWARE_PASSWORD: marker } },
    "by-variable",
  );
  assert.equal(code, 0, stderr);
  assert.match(stderr, /incremental/);
  assert.doesNotMatch(stderr, /shows the password/);
  // Its own environment is what the caller gave it. A child between fork and exec still has its parent's.
  for (const { pid, what, name } of watch.sightings) {
    assert.equal(what, "environ");
    assert.ok(/^(node|sh|migratekit|MainThread)/.test(name), `${name} (${pid}) has the password`);
  }
  await assertEqualTargets(lab, vm);
});

test("a run by file, failing, from a vCenter that answers with the password it was sent", async () => {
  lab.vcenter.faults.add({ name: "snapshotFails", value: `you said ${marker}`, count: 5 });
  const file = join(lab.dir, "marker");
  writeFileSync(file, `${marker}\n`, { mode: 0o600 });
  const args = lab.migrateArgs(vm, { jobId: "by-file", extra: ["--debug", "--json"] });
  args[args.indexOf("--vmware-password-file") + 1] = file;
  const { child, result } = startCli({ args, env: { TMPDIR: temporary } });
  const watch = watchTree(child.pid!, forms, [temporary, lab.stateDir]);
  const { code, stdout, stderr } = await result;
  watch.stop();
  assert.equal(code, 3, stderr);
  assert.match(stderr, /you said \[secret\]/);
  assert.equal(JSON.parse(stdout).error.code, "snapshot-failed");
  const told = Buffer.from(JSON.stringify(lab.vma.updatesOf("by-file")));
  assert.match(told.toString(), /you said \[secret\]/);
  assert.ok(![stdout, stderr, told].some((text) => holds(Buffer.from(text), forms)));
  assert.deepEqual(watch.sightings, []);
  assert.deepEqual(filesHolding(lab.stateDir, forms), []);
});

test("a run by configuration file with every debug switch of Node and its libraries on", async () => {
  const config = join(lab.dir, "config.yaml");
  writeFileSync(config, `vmware-password: ${JSON.stringify(marker)}\n`);
  chmodSync(config, 0o644);
  await vm.write(2000, 131_072, Buffer.alloc(4096, 9));
  const { code, stderr, watch } = await run(
    { args: ["--config", config], env: debugSwitches },
    "by-config",
  );
  assert.equal(code, 0, stderr);
  assert.match(stderr, /others can read it/);
  assert.match(stderr, /^(NET|TLS|HTTPS?) \d+:/m, "the switches were on");
  assert.deepEqual(watch.sightings, []);
  await assertEqualTargets(lab, vm);
});

test("a password file that others can read is used with a warning; one without an end is refused", async () => {
  const file = join(lab.dir, "open");
  writeFileSync(file, `${marker}\n`);
  chmodSync(file, 0o640);
  const withFile = (path: string) => {
    const args = lab.migrateArgs(vm, { extra: ["--vmware-path", "/Datacenter/vm/none"] });
    args[args.indexOf("--vmware-password-file") + 1] = path;
    return startCli({ args }).result;
  };
  const open = await withFile(file);
  assert.match(open.stderr, /others can read the password file/);
  assert.match(open.stderr, /vm-not-found/);
  const endless = await withFile("/dev/zero");
  assert.equal(endless.code, 2);
  assert.match(endless.stderr, /longer than 4096 bytes/);
});

test("mistyped flags are named without the value that hangs on them", async () => {
  const { code, stderr } = await startCli({ args: ["migrate", `--vmware-pasword=${marker}`] })
    .result;
  assert.equal(code, 2);
  assert.match(stderr, /unknown option '--vmware-pasword=…'/);
  assert.ok(!holds(Buffer.from(stderr), forms));
});

test("a core file made while a disk is being copied holds no memory", async () => {
  const cores = join(temporary, "cores");
  mkdirSync(cores);
  assert.match(
    readFileSync("/proc/sys/kernel/core_pattern", "utf8"),
    /^core/,
    "cores go to the working directory",
  );
  // That cores are made here, and that what a process holds is found in them, is shown by one without our care.
  const careless = spawnWithCores(cores, ["sleep", "60"], { HELD: marker });
  await until("sleep runs", () => readFileSync(`/proc/${careless.pid}/comm`, "utf8") === "sleep\n");
  careless.kill("SIGABRT");
  await once(careless, "exit");
  assert.equal(filesHolding(cores, forms).length, 1, "the marker is found in a core");
  rmSync(cores, { recursive: true });
  mkdirSync(cores);

  await lab.vddk.setFaults({ hang_after: 0 });
  const args = lab.migrateArgs(vm, { extra: ["--full"] });
  args[args.indexOf("--vmware-password-file") + 1] = join(lab.dir, "marker");
  const child = spawnWithCores(cores, [...cliCommand, ...args], { TMPDIR: temporary });
  const watch = watchTree(child.pid!, forms, []);
  await until("the copy is under way", () => vm.snapshots.length > 0 && watch.coreFilters.size > 0);
  child.kill("SIGABRT");
  await once(child, "exit");
  watch.stop();
  const made = filesHolding(cores, [Buffer.from("\x7fELF")]);
  assert.equal(made.length, 1, "a core was made");
  assert.deepEqual(filesHolding(cores, forms), []);
  rmSync(cores, { recursive: true });
  for (const snapshot of [...vm.snapshots]) assert.match(snapshot.name, /migratekit/);
});

function spawnWithCores(cwd: string, command: readonly string[], env: Record<string, string>) {
  const script = 'ulimit -c unlimited; exec "$@"';
  return spawn("/bin/sh", ["-c", script, "sh", ...command], {
    cwd,
    env: { PATH: process.env.PATH, ...env },
    stdio: "ignore",
  });
}
