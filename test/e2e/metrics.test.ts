import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { findFreePort } from "../lab/ports.ts";
import { startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { migrateWell } from "./migrate-checks.ts";

const mebibyte = 1 << 20;
const fill = { seed: 3, dataRatio: 0.5, zeroRatio: 0.1 };
const oddName = 'odd "name\\ ü';

let lab: Lab;
let vm: LabVm;
let path: string;
before(async () => {
  lab = await startLab({
    targets: "direct",
    vms: [
      {
        name: "web01",
        disks: [
          { capacityBytes: 6 * mebibyte, fill },
          { capacityBytes: 4 * mebibyte, fill },
        ],
      },
      { name: oddName, disks: [{ capacityBytes: 2 * mebibyte, fill }] },
    ],
  });
  vm = lab.vm("web01");
  path = join(lab.dir, "textfile", "migratekit.prom");
  mkdirSync(dirname(path));
});
after(() => lab.stop());
beforeEach(() => lab.vddk.setFaults({}));

type Samples = Map<string, number>;

/** Written from the format's description, knowing nothing of the writer: every line is checked. */
function readMetrics(): Samples {
  const text = readFileSync(path, "utf8");
  assert.ok(text.endsWith("\n"), "the last line ends");
  const samples: Samples = new Map();
  const types = new Map<string, string>();
  for (const line of text.trimEnd().split("\n")) {
    const meta = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line);
    if (meta) {
      if (meta[1] === "TYPE") {
        assert.ok(!types.has(meta[2]!), `${meta[2]} has one type`);
        assert.match(meta[3]!, /^(gauge|counter)$/);
        types.set(meta[2]!, meta[3]!);
      }
      continue;
    }
    const sample =
      /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)$/.exec(
        line,
      );
    assert.ok(sample, `a sample: ${line}`);
    const [, name, labels = "", value] = sample;
    assert.ok(types.has(name!), `${name} has a type, and its samples stand together`);
    assert.equal(types.get(name!) === "counter", name!.endsWith("_total"));
    const key = `${name}{${labels}}`;
    assert.ok(!samples.has(key), `${key} is there once`);
    assert.ok(Number.isFinite(Number(value)), line);
    samples.set(key, Number(value));
  }
  return samples;
}

function value(samples: Samples, name: string, machine: LabVm, more = ""): number | undefined {
  const label = machine.path.replace(/[\\"]/g, "\\$&");
  return samples.get(`migratekit_${name}{vm="${label}",endpoint="${lab.vcenter.endpoint}"${more}}`);
}

const withMetrics = () => ["--metrics-file", path];

test("after a full and an incremental run the file has type, bytes and times of each disk", async () => {
  const before = Date.now() / 1000;
  await migrateWell(lab, vm, { extra: withMetrics() });
  const first = readMetrics();
  const disk = (key: number) => `,disk="disk-${key}"`;
  assert.equal(value(first, "disk_last_sync_info", vm, `${disk(2000)},sync_type="full"`), 1);
  assert.equal(value(first, "disk_capacity_bytes", vm, disk(2001)), 4 * mebibyte);
  assert.equal(value(first, "failures_total", vm), 0);
  assert.equal(value(first, "last_run_success", vm), 1);
  const at = value(first, "last_success_timestamp_seconds", vm) ?? 0;
  assert.ok(at >= before && at <= Date.now() / 1000 + 1, `${at}`);
  assert.ok((value(first, "last_run_duration_seconds", vm) ?? 0) > 0);

  await vm.randomWrites(2000, { seed: 8, writes: 4 });
  const summary = await migrateWell(lab, vm, { extra: withMetrics() });
  const second = readMetrics();
  assert.equal(
    value(second, "disk_last_sync_info", vm, `${disk(2000)},sync_type="incremental"`),
    1,
  );
  for (const { disk_id, planned_bytes, copied_bytes } of summary.disks) {
    const label = `,disk="${disk_id}"`;
    assert.equal(value(second, "disk_last_planned_bytes", vm, label), planned_bytes);
    assert.equal(value(second, "disk_last_copied_bytes", vm, label), copied_bytes);
  }
  assert.ok((value(second, "last_success_timestamp_seconds", vm) ?? 0) > at);
  assert.equal(statSync(path).mode & 0o777, 0o644, "the collector runs as another user");
  assert.deepEqual(readdirSync(dirname(path)), [basename(path)], "nothing half-made is left");
});

test("failures of every kind are counted from run to run, and the last success stands", async () => {
  const success = value(readMetrics(), "last_success_timestamp_seconds", vm);
  await lab.vddk.setFaults({ nfc_refuse: 1 });
  const refused = await lab.migrate(vm, { extra: withMetrics() });
  assert.equal(refused.code, 4, refused.stderr);
  assert.equal(value(readMetrics(), "failures_total", vm), 1);
  await lab.vddk.setFaults({});

  // No run begins, but the VM is known.
  const closed = await findFreePort();
  const elsewhere = ["--vmware-endpoint", `127.0.0.1:${closed}`];
  const down = await lab.migrate(vm, {
    extra: [...withMetrics(), "--vmware-username", "nobody@vsphere.local"],
  });
  assert.equal(down.code, 3, down.stderr);
  const samples = readMetrics();
  assert.equal(value(samples, "failures_total", vm), 2);
  assert.equal(value(samples, "last_run_success", vm), 0);
  assert.equal(value(samples, "last_success_timestamp_seconds", vm), success);

  // One that was never found is counted as well, and survives the runs of others.
  for (const _ of [1, 2]) {
    assert.equal((await lab.migrate(vm, { extra: [...withMetrics(), ...elsewhere] })).code, 3);
  }
  await migrateWell(lab, vm, { extra: withMetrics() });
  const last = readMetrics();
  const stranger = `{vm="${vm.path}",endpoint="127.0.0.1:${closed}"}`;
  assert.equal(last.get(`migratekit_failures_total${stranger}`), 2);
  assert.equal(last.get(`migratekit_last_run_success${stranger}`), 0);
  assert.equal(value(last, "failures_total", vm), 2);
  assert.equal(value(last, "last_run_success", vm), 1);
});

test("odd names are escaped, and several VMs share a file", async () => {
  const odd = lab.vm(oddName);
  await migrateWell(lab, odd, { extra: withMetrics() });
  const samples = readMetrics();
  assert.equal(value(samples, "last_run_success", odd), 1);
  assert.equal(value(samples, "last_run_success", vm), 1);
});

test("a file that cannot be written is a warning and fails no run", async () => {
  const directory = join(lab.dir, "a-directory");
  mkdirSync(directory);
  writeFileSync(join(directory, "content"), "");
  for (const bad of [join(lab.dir, "none", "x.prom"), directory]) {
    const summary = await migrateWell(lab, vm, { extra: ["--metrics-file", bad] });
    assert.match(summary.log, /metrics file .* was not written/);
  }
  assert.deepEqual(readdirSync(directory), ["content"]);
});

test("the history lists what failed before a run could begin, too", async () => {
  const run = await startCli({ args: ["history", "--state-dir", lab.stateDir, "--json"] }).result;
  const { vms } = JSON.parse(run.stdout) as {
    vms: { vm_path: string; runs: { status: string; error_code?: string; disks: unknown[] }[] }[];
  };
  const failed = vms.find(({ vm_path }) => vm_path === vm.path)!.runs.filter((r) => r.error_code);
  assert.equal(failed.length, 2);
  assert.match(failed[0]!.error_code!, /^vsphere-/);
  assert.deepEqual(failed[0]!.disks, []);
});
