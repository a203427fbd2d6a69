// `inventory --plan`: a list that `migrate --vms` takes, to be completed by whoever made it.

import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { readVmList } from "../../src/migration/list/read-list.ts";
import { parseTargets } from "../../src/nbd/target/target.ts";
import { startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { startInventoryLab } from "./inventory-lab.ts";
import { assertEqualTargets, assertFailure } from "./migrate-checks.ts";

const fill = { seed: 5, dataRatio: 0.5, zeroRatio: 0.1 };
const disk = { capacityBytes: 1 << 20, fill };
const odd = 'a "b": [c] {d}, # e/f & 東京 %41';

let lab: Lab;
before(async () => {
  lab = await startLab({
    targets: "direct",
    vms: [
      { name: "web01", folder: "Wave", disks: [disk, { ...disk, key: 2016 }] },
      { name: "db01", folder: "Wave", tools: "notRunning", disks: [disk] },
      { name: "tpl", folder: "Wave", template: true, disks: [disk] },
      { name: odd, folder: "Odd", disks: [disk] },
      { name: "twin", folder: "Twins/A", disks: [disk] },
      { name: "twin", folder: "Twins/B", disks: [disk] },
    ],
  });
});
after(() => lab.stop());

const place = (name: string) => join(lab.dir, name);

function inventory(...more: string[]) {
  const { vcenter, passwordFile, stateDir } = lab;
  const args = [
    ...["inventory", "--vmware-endpoint", vcenter.endpoint],
    ...["--vmware-username", vcenter.username, "--vmware-password-file", passwordFile],
    ...["--vmware-thumbprint", vcenter.thumbprintSha1, "--state-dir", stateDir, ...more],
  ];
  return startCli({ args }).result;
}

const pattern = () => `nbd://127.0.0.1:${lab.targets.port}/{vm}-{key}`;

const read = (path: string) => readVmList(path, new Map(), {}).vms;

test("what nothing blocks is an entry with a target for each disk, and migrate moves it as it stands", async () => {
  const plan = place("wave.yaml");
  const flags = ["/Datacenter/vm/Wave", "--plan", plan, "--plan-target", pattern(), "--json"];
  const run = await inventory(...flags);
  assert.equal(run.code, 0, run.stderr);
  const document = JSON.parse(run.stdout) as { plan: object };
  assert.deepEqual(document.plan, { file: plan, vm_count: 2 });
  const text = readFileSync(plan, "utf8");
  assert.match(text, /^ {2}# note: VMware Tools do not run .*\n {2}- vmware-path: ".*db01"$/m);
  assert.match(
    text,
    /^ {2}# left out: "\/Datacenter\/vm\/Wave\/tpl"\n {2}# problem: tpl is a template\. Convert it/m,
  );
  assert.match(text, /^ {6}2016: "nbd:.*\/web01-2016" # Hard disk 2, 1\.0 MiB, pvscsi 1:0$/m);
  assert.ok(!text.includes(lab.vcenter.password));
  assert.deepEqual(
    read(plan).map(({ name, config }) => [name, [...parseTargets(config.nbdTargets!)]]),
    [
      ["db01", targetsOf(lab.vm("db01"))],
      ["web01", targetsOf(lab.vm("web01"))],
    ],
  );
  const migrated = await startCli({ args: ["migrate", "--vms", plan], env: lab.cliEnv() }).result;
  assert.match(migrated.stdout, /2 of 2 VMs completed/, migrated.stderr);
  for (const name of ["web01", "db01"]) await assertEqualTargets(lab, lab.vm(name));
});

function targetsOf(vm: LabVm): [number, string][] {
  return lab.targets.disksOf(vm).map(({ key, exportUri }) => [key, exportUri]);
}

test("a VM that this machine has cut over is left out, with the reason", async () => {
  const vm = lab.vm("db01");
  const [, ...args] = lab.migrateArgs(vm, { extra: ["--yes", "--shutdown-timeout", "1s"] });
  const force = ["cutover", ...args, "--force-power-off", "--max-downtime", "1h"];
  const done = await startCli({ args: force }).result;
  assert.equal(done.code, 0, done.stderr);
  const plan = place("after.yaml");
  const run = await inventory("/Datacenter/vm/Wave", "--plan", plan, "--plan-target", pattern());
  assert.match(run.stdout, /^ {2}db01 +off .*\n {4}blocked: .* was cut over at .* \[cut-over\]$/m);
  assert.match(readFileSync(plan, "utf8"), /left out: ".*db01"\n {2}# problem: .* was cut over/);
  assert.deepEqual(
    read(plan).map(({ name }) => name),
    ["web01"],
  );
});

test("without a pattern the targets are left open, and migrate refuses them by name before it logs in", async () => {
  const plan = place("open.yaml");
  assert.equal((await inventory("/Datacenter/vm/Odd", "--plan", plan)).code, 0);
  lab.vcenter.log.clear();
  const run = await startCli({ args: ["migrate", "--vms", plan], env: lab.cliEnv() }).result;
  assertFailure(run, 2, /open\.yaml:\d+: .*2000:TARGET-TO-BE-FILLED-IN/, /2000:nbd:\/\/host/);
  assert.deepEqual(lab.vcenter.log.calls, []);
  const completed = readFileSync(plan, "utf8").replace("TARGET-TO-BE-FILLED-IN", "nbd://h/x");
  writeFileSync(plan, completed);
  assert.equal(read(plan).length, 1);
});

test("names with everything in them come back as they were, and stay one name in a URI", async () => {
  const plan = place("odd.yaml");
  const target = "nbd://h:10809/{vm}-disk-{index}";
  assert.equal(
    (await inventory("/Datacenter/vm/Odd", "--plan", plan, "--plan-target", target)).code,
    0,
  );
  const [vm] = read(plan);
  assert.equal(vm?.config.vmwarePath, lab.vm(odd).path);
  const [uri] = parseTargets(vm!.config.nbdTargets!).values();
  assert.equal(decodeURIComponent(new URL(uri!).pathname), `/${odd}-disk-0`);
});

test("one target for two VMs, or what is no target, is refused, and no file is made", async () => {
  const plan = place("never.yaml");
  const twins = ["/Datacenter/vm/Twins", "--plan", plan, "--plan-target"];
  const shared = await inventory(...twins, "nbd://h/{vm}-{key}");
  assertFailure(
    shared,
    2,
    /makes one target, nbd:.*twin-2000, for disk-2000 of .*A\/twin and for .*B\/twin/,
    /\{moref\} or \{uuid\}/,
  );
  const none = await inventory(...twins, "http://h/{vm}-{key}");
  assertFailure(
    none,
    2,
    /--plan-target http:.* makes no target: "http" is none of nbd/,
    /nbd:\/\/host/,
  );
  assert.deepEqual(
    readdirSync(lab.dir).filter((name) => name.startsWith("never")),
    [],
  );
  assert.equal((await inventory(...twins, "nbd://h/{moref}-{key}")).code, 0);
  assert.deepEqual(
    read(plan).map(({ name }) => name),
    ["/Datacenter/vm/Twins/A/twin", "/Datacenter/vm/Twins/B/twin"],
  );
});

test("a file that is there is left alone without --replace-plan, before anything is asked, and replaced whole with it", async () => {
  const plan = place("kept.yaml");
  writeFileSync(plan, "mine", { mode: 0o600 });
  lab.vcenter.log.clear();
  const flags = ["/Datacenter/vm/Wave", "--plan", plan];
  assertFailure(
    await inventory(...flags),
    2,
    /kept\.yaml: there is such a file already/,
    /--replace-plan/,
  );
  assert.deepEqual(lab.vcenter.log.calls, []);
  assert.equal(readFileSync(plan, "utf8"), "mine");
  const { ino } = statSync(plan);
  assert.equal((await inventory(...flags, "--replace-plan")).code, 0);
  assert.notEqual(statSync(plan).ino, ino, "another file was put in its place");
  assert.match(readFileSync(plan, "utf8"), /^vms:$/m);
});

test("a file that appears meanwhile is left alone too, and one that cannot be written is told before anything is asked", async () => {
  const plan = place("late.yaml");
  lab.vcenter.faults.add({ name: "delayMs", method: "CreateContainerView", value: 400, count: 1 });
  const late = inventory("/Datacenter/vm/Wave", "--plan", plan);
  const seen = lab.vcenter.log.calls.length;
  while (!lab.vcenter.log.calls.slice(seen).some(({ method }) => method === "CreateContainerView"))
    await new Promise((resolve) => setTimeout(resolve, 10));
  writeFileSync(plan, "mine");
  assertFailure(
    await late,
    2,
    /late\.yaml: cannot be written: there is such a file already/,
    /new file/,
  );
  assert.equal(readFileSync(plan, "utf8"), "mine");
  assert.deepEqual(
    readdirSync(lab.dir).filter((name) => name.includes("partial")),
    [],
  );
  lab.vcenter.log.clear();
  const nowhere = await inventory("--plan", place("nowhere/plan.yaml"));
  assertFailure(nowhere, 2, /nowhere\/plan\.yaml: cannot be written/, /folder/);
  assert.deepEqual(lab.vcenter.log.calls, []);
});

test("where nothing can be migrated the list is empty, and migrate says so", async () => {
  const plan = place("none.yaml");
  assert.equal((await inventory("/Datacenter/vm/Wave/tpl", "--plan", plan)).code, 0);
  assert.throws(() => read(plan), /names no VM/);
});

test("of two VMs that this account sees under one path neither is an entry", async () => {
  await using other = await startInventoryLab({
    vms: ["A", "B"].map((folder) => ({ name: "twin", folder, paper: true, disks: [disk] })),
  });
  for (const value of ["A", "B"]) other.vcenter.faults.add({ name: "folderHidden", value });
  const plan = join(other.dir, "plan.yaml");
  const { vms, plan: written } = await other.document("--plan", plan);
  assert.deepEqual(new Set(vms.map(({ vm_path }) => vm_path)), new Set(["/twin"]));
  assert.equal(written?.vm_count, 0);
  assert.match(
    readFileSync(plan, "utf8"),
    /left out: "\/twin"\n {2}# problem: another VM has the same path/,
  );
});
