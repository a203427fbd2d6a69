import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { State } from "../../src/state/state.ts";
import { startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { assertFailure, migrateWell } from "./migrate-checks.ts";
import { startAtTerminal, withoutEscapes } from "./terminal.ts";

let lab: Lab;
let vm: LabVm;
before(async () => {
  const fill = { seed: 5, dataRatio: 0.9, zeroRatio: 0 };
  lab = await startLab({
    targets: "direct",
    vms: [
      { name: "web01", disks: [{ capacityBytes: 8 << 20, fill }] },
      { name: "web02", disks: [{ capacityBytes: 1 << 20, fill }] },
    ],
  });
  vm = lab.vm("web01");
  await migrateWell(lab, vm);
  for (const writes of [1, 8, 3]) {
    await vm.randomWrites(2000, { seed: writes, writes });
    await migrateWell(lab, vm);
  }
  await lab.migrate(vm, { extra: ["--nbd-export-name", "missing"] });
  await migrateWell(lab, lab.vm("web02"));
});
after(() => lab.stop());

function history(...args: string[]) {
  return startCli({ args: ["history", "--state-dir", lab.stateDir, ...args] }).result;
}

test("past runs are listed newest first with bytes, rate, reason, and a sparkline of the deltas", async () => {
  const { code, stdout, stderr } = await history("--vmware-path", vm.path);
  assert.equal(code, 0, stderr);
  const lines = stdout.trimEnd().split("\n");
  assert.match(lines[0]!, /^\/Datacenter\/vm\/web01 at 127\.0\.0\.1:\d+ \([0-9a-f-]{36}\)$/);
  assert.match(
    lines[1]!,
    /^start \(UTC\) +command +sync +ending +planned +read +written +zeroed +unchanged +time +rate +why$/,
  );
  assert.equal(lines.length, 2 + 5 + 1);
  assert.match(lines[2]!, /migrate +failed \[target-refused\].*missing/);
  for (const line of lines.slice(3, 6)) assert.match(line, /migrate +incremental +completed .*\/s/);
  assert.match(lines[6]!, /migrate +full +completed( +[\d.]+ (MiB|B)){5} +\d:\d\d +.*\/s +\S/);
  assert.match(lines[7]!, /^changed \(up to .*\): [▁▂▃▄▅▆▇]█[▁▂▃▄▅▆▇]$/);
});

test("--limit, --json and the choice of a VM", async () => {
  const all = JSON.parse((await history("--json")).stdout) as {
    vms: { vm_path: string; runs: { status: string; disks: { copied_bytes: number }[] }[] }[];
  };
  assert.deepEqual(
    all.vms.map(({ vm_path, runs }) => [vm_path, runs.length]),
    [
      [vm.path, 5],
      ["/Datacenter/vm/web02", 1],
    ],
  );
  const two = JSON.parse(
    (await history("--json", "--limit", "2", "--vmware-path", vm.path)).stdout,
  );
  assert.equal(two.vms[0].runs.length, 2);
  assert.equal(two.vms[0].runs[0].status, "failed");
  const other = await history("--vmware-endpoint", "other.example");
  assertFailure(other, 2, /knows of no run of any VM/, /--vmware-endpoint/);
});

test("at a terminal lines are cut to its width, in a pipe nothing is", async () => {
  const args = ["history", "--state-dir", lab.stateDir];
  for (const columns of [80, 200]) {
    const { output } = await startAtTerminal({ args, columns }).result;
    const lines = withoutEscapes(output).trimEnd().split("\n");
    for (const line of lines.filter((text) => !text.startsWith("/"))) {
      assert.ok(line.length <= columns, `${line.length}: ${line}`);
    }
    if (columns === 80) assert.ok(lines.some((line) => line.endsWith("…")));
    else assert.ok(lines.some((line) => / completed .*\/s +\S+ \S+/.test(line)));
  }
  assert.ok(!(await history()).stdout.includes("…"));
});

test("a run under way is running, one that was killed has died, and looking changes nothing", async () => {
  await lab.vddk.setFaults({ delay_us: 3_000_000, aio_threads: 1 });
  const run = startCli({ args: lab.migrateArgs(vm, { jobId: "dies", extra: ["--full"] }) });
  while (lab.vma.jobs.get("dies")?.stage !== "Transfer") await sleep(20);
  assert.match((await history("--limit", "1")).stdout, /migrate +running/);
  run.child.kill("SIGKILL");
  await run.result;
  for (const _ of [1, 2]) assert.match((await history("--limit", "1")).stdout, /migrate +died/);
});

test("a state directory that is not there is told, and not made", async () => {
  const parent = mkdtempSync(join(tmpdir(), "mk-history-"));
  try {
    const stateDir = join(parent, "none");
    const run = await startCli({ args: ["history", "--state-dir", stateDir] }).result;
    assertFailure(run, 2, /knows of no run/, /--state-dir/);
    assert.throws(() => rmSync(stateDir), /ENOENT/);
  } finally {
    rmSync(parent, { recursive: true });
  }
});

test("every run keeps what the VM is made of, and the addresses of the time when it ran", async () => {
  const cold = lab.vm("web02");
  const nics = [{ mac: "00:50:56:00:aa:01", addresses: ["192.0.2.7/24"] }];
  cold.set({ hardware: { firmware: "efi", cpus: 3, nics } });
  await migrateWell(lab, cold);
  cold.setPowerState("poweredOff");
  await migrateWell(lab, cold);
  using state = State.openExisting(lab.stateDir);
  const known = state!.listVms().find(({ vmPath }) => vmPath === cold.path);
  assert.deepEqual(state!.machines.readHardware(known!), {
    name: "web02",
    firmware: "uefi",
    secureBoot: false,
    cpus: 3,
    memoryMiB: 2048,
    guestId: "debian11_64Guest",
    nics: [{ mac: "00:50:56:00:aa:01", network: "VM Network", addresses: ["192.0.2.7/24"] }],
  });
});
