import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import type { VmSpec } from "../lab/vcenter/vm-spec.ts";
import { until } from "../until.ts";
import { assertEqualTargets, assertNoSnapshot, type Summary } from "./migrate-checks.ts";
import { startAtTerminal, withoutEscapes } from "./terminal.ts";

const vmCount = 20;
const mebibyte = 1 << 20;

function machine(index: number): VmSpec {
  const fill = { seed: index + 1, dataRatio: 0.5, zeroRatio: 0.1 };
  const disk = { capacityBytes: 2 * mebibyte + index * 512, fill };
  const name = `vm${String(index).padStart(2, "0")}`;
  if (index === 5) {
    return { name, disks: [disk, { ...disk, mode: "independent_persistent" }] };
  }
  return { name, disks: index % 4 === 0 ? [disk, disk] : [disk] };
}

interface ListDocument {
  status: string;
  completed_count: number;
  failed_count: number;
  vms: {
    name: string;
    job_id?: string;
    status: string;
    exit_code: number;
    error?: { code: string; remedy: string };
    summary?: Summary;
  }[];
}

let lab: Lab;
before(async () => {
  lab = await startLab({
    targets: "direct",
    vms: Array.from({ length: vmCount }, (_, index) => machine(index)),
  });
});
after(() => lab.stop());
beforeEach(async () => {
  lab.nfc.forgetPeak();
  await lab.vddk.setFaults({});
});

function entry(vm: LabVm, extra: Record<string, string> = {}): string {
  const settings = {
    "vmware-path": vm.path,
    "nbd-export-name": lab.targets.exportTemplate(vm),
    "job-id": `job-${vm.name}`,
    ...extra,
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name}: "${value}"`);
  return `  - ${lines.join("\n    ")}\n`;
}

async function writeList(entries: readonly string[], defaults = ""): Promise<string> {
  const { vcenter, targets, passwordFile, vddk, vma } = lab;
  const path = join(lab.dir, "list.yaml");
  await writeFile(
    path,
    `defaults:
  vmware-endpoint: "${vcenter.endpoint}"
  vmware-username: ${vcenter.username}
  vmware-password-file: ${passwordFile}
  vmware-thumbprint: "${vcenter.thumbprintSha1}"
  nbd-port: ${targets.port}
  vddk-plugin: ${vddk.plugin}
  vddk-libdir: ${vddk.libdir}
  vma-url: ${vma.url}
${defaults}vms:
${entries.join("")}`,
  );
  return path;
}

function start(path: string, extra: readonly string[] = []) {
  const args = ["migrate", "--vms", path, "--state-dir", lab.stateDir, ...extra];
  return startCli({ args });
}

test("of 20 VMs with two broken 18 are migrated, two reported, and the host's limit is kept", async () => {
  const entries = lab.vcenter.vms.map((vm, index) =>
    entry(vm, index === 11 ? { "nbd-export-name": "no-such-volume" } : {}),
  );
  const path = await writeList(entries);
  const flags = ["--parallel-vms", "4", "--host-connections", "3", "--json"];
  const run = await start(path, flags).result;

  const summary = JSON.parse(run.stdout) as ListDocument;
  assert.equal(summary.status, "failed");
  assert.equal(summary.completed_count, 18);
  assert.equal(summary.failed_count, 2);
  assert.deepEqual(
    summary.vms.map(({ name }) => name),
    lab.vcenter.vms.map(({ name }) => name),
    "one entry for each VM, in the list's order",
  );
  const failed = summary.vms.filter(({ status }) => status !== "completed");
  assert.deepEqual(
    failed.map(({ name, exit_code, error }) => [name, exit_code, error?.code]),
    [
      ["vm05", 3, "vm-unsuitable"],
      ["vm11", 5, "target-refused"],
    ],
  );
  assert.equal(run.code, 3, "the code of the first failure in the list's order");
  assert.ok(lab.nfc.peakCount > 0);
  assert.ok(lab.nfc.peakCount <= 3, `${lab.nfc.peakCount} connections at once`);
  for (const [index, vm] of lab.vcenter.vms.entries()) {
    assertNoSnapshot(vm);
    const last = lab.vma.updatesOf(`job-${vm.name}`).at(-1)?.body;
    assert.equal(last?.status, index === 5 || index === 11 ? "failed" : "completed");
    if (index !== 5 && index !== 11) await assertEqualTargets(lab, vm);
  }
  assert.deepEqual(lab.vma.violations, []);
});

test("for people there is a table with each failure's cause and remedy, and log lines name the VM", async () => {
  const [good, other] = lab.vcenter.vms;
  const ofFleet = {
    wave: "2",
    every: "15m",
    "cutover-window": "Sun 02:00-05:00",
    "max-rate": "1G",
  };
  const path = await writeList([
    entry(good!, ofFleet),
    entry(other!, { ...ofFleet, "nbd-export-name": "missing" }),
  ]);
  const run = await start(path).result;
  assert.equal(run.code, 5, run.stderr);
  assert.match(
    run.stdout,
    /^VM +ending +sync +disks +planned +read +written +zeroed +unchanged +time$/m,
  );
  assert.match(run.stdout, /^vm00 +completed +incremental +2 +/m);
  assert.match(run.stdout, /^vm01 +failed \[target-refused\]/m);
  assert.match(run.stdout, /^vm01 \[target-refused\]: .*missing.*\n {2}fix: \S/m);
  assert.match(run.stdout, /^1 of 2 VMs completed in \d/m);
  assert.ok(!run.stderr.includes("error [bug]"), run.stderr);
  const lines = run.stderr.split("\n").filter(Boolean);
  const logged = lines.map((line) => JSON.parse(line) as { vm?: string; stage?: string });
  for (const vm of ["vm00", "vm01"]) assert.ok(logged.some((line) => line.vm === vm));
  const unheeded = lines.filter((line) => line.includes("of a fleet alone"));
  assert.equal(unheeded.length, 1, "said once for all VMs");
  assert.match(unheeded[0]!, /wave, every, cutover-window, max-rate; every VM is synced now/);
  const stages = logged.filter((line) => line.vm === "vm00" && line.stage === "Transfer");
  assert.equal(stages.length, 1, "one line for a stage");
});

test("at a terminal every VM has a line, a failed one says so, and the total counts them", async () => {
  const [good, other] = lab.vcenter.vms;
  const path = await writeList([entry(good!), entry(other!, { "nbd-export-name": "missing" })]);
  const args = ["migrate", "--vms", path, "--state-dir", lab.stateDir];
  const run = await startAtTerminal({ args, columns: 120 }).result;
  assert.equal(run.code, 5, run.output);
  const text = withoutEscapes(run.output);
  assert.match(text, /^vm00 .*100% .* done$/m);
  assert.match(text, /^vm01 .* failed$/m);
  assert.match(text, /^total .*100% .*Complete: 2 of 2 VMs over, 1 failed$/m);
  assert.match(text, /INFO: vm00: disk-2000: /, "log lines begin with their VM");
});

test("two VMs found to share a volume only on the way: the second one is refused", async () => {
  const [, small, , large] = lab.vcenter.vms;
  const template = lab.targets.exportTemplate(large!);
  const path = await writeList([
    entry(large!, { "nbd-export-name": template }),
    entry(small!, { "nbd-export-name": template.replace("{key}", "2000") }),
  ]);
  const run = await start(path, ["--json"]).result;
  const summary = JSON.parse(run.stdout) as ListDocument;
  assert.deepEqual(
    summary.vms.map(({ status, error }) => [status, error?.code]),
    [
      ["completed", undefined],
      ["failed", "usage"],
    ],
  );
  assert.equal(run.code, 2);
});

test("a signal ends every VM under way politely, and the others do not begin", async () => {
  await lab.vddk.setFaults({ delay_us: 2_000_000, aio_threads: 1 });
  const vms = lab.vcenter.vms.slice(6, 10);
  const path = await writeList(vms.map((vm) => entry(vm, { "job-id": `signal-${vm.name}` })));
  const run = start(path, ["--parallel-vms", "2", "--full", "--json"]);
  await until("two are copied", () =>
    vms.slice(0, 2).every((vm) => lab.vma.jobs.get(`signal-${vm.name}`)?.stage === "Transfer"),
  );
  run.child.kill("SIGTERM");
  const result = await run.result;
  assert.equal(result.signal, "SIGTERM", result.stderr);
  const { vms: outcomes } = JSON.parse(result.stdout) as ListDocument;
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ["interrupted", "interrupted", "not_started", "not_started"],
  );
  for (const { exit_code, error } of outcomes) {
    assert.deepEqual([exit_code, error?.code], [143, "interrupted"]);
  }
  for (const vm of vms) assertNoSnapshot(vm);
  for (const vm of vms.slice(0, 2)) {
    assert.equal(lab.vma.updatesOf(`signal-${vm.name}`).at(-1)?.body.status, "failed");
  }
  assert.equal(lab.vma.jobs.has(`signal-${vms[2]!.name}`), false);
});

test("what is wrong in a list is found before anything starts, with file and line", async () => {
  const [one, two] = lab.vcenter.vms;
  const lineOf = async (path: string, text: string) =>
    (await readFile(path, "utf8")).split("\n").findIndex((line) => line.includes(text)) + 1;
  const cases: [string, string[], string, RegExp][] = [
    ["an unknown setting", [entry(one!, { "nbd-prot": "1" })], "nbd-prot", /unknown setting/],
    ["a bad value", [entry(one!, { "parallel-disks": "99" })], "parallel-disks", /1 to 16/],
    ["a setting of the whole", [entry(one!, { memory: "64M" })], "memory", /command line/],
    ["one of another command", [entry(one!, { sample: "true" })], "sample", /not a setting/],
    ["one job for two", [entry(one!), entry(two!, { "job-id": "job-vm00" })], two!.path, /the job/],
    ["one VM twice", [entry(one!), entry(one!, { "job-id": "x" })], "zzz", /the VM .*vm00/],
    [
      "one target for two",
      [entry(one!), entry(two!, { "nbd-export-name": lab.targets.exportTemplate(one!) })],
      two!.path,
      /the target .*vm00/,
    ],
    ["bad targets", [entry(one!, { "nbd-targets": "2000=x" })], one!.path, /entry 1 \(2000=x\)/],
  ];
  const before = lab.vcenter.log.calls.length;
  for (const [title, entries, at, message] of cases) {
    const path = await writeList(entries);
    const run = await start(path).result;
    assert.equal(run.code, 2, `${title}: ${run.stderr}`);
    assert.match(run.stderr, message, title);
    const line = await lineOf(path, at);
    const place = line === 0 ? /list\.yaml:\d+: / : new RegExp(`list\\.yaml:${line}: `);
    assert.match(run.stderr, place, title);
  }
  assert.equal(lab.vcenter.log.calls.length, before, "vCenter heard of none of it");
});
