// What every migration test asks of a run, whatever it was about.

import assert from "node:assert/strict";
import { compareFiles } from "../lab/compare.ts";
import type { CliResult } from "../lab/run-cli.ts";
import type { Lab, MigrateOptions } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";

export interface SummaryDisk {
  disk_id: string;
  sync_type: string;
  resumed: boolean;
  reason: string;
  planned_bytes: number;
  copied_bytes: number;
  zeroed_bytes: number;
  skipped_bytes: number;
  change_id?: string;
}

export interface Summary {
  status: string;
  sync_type: string;
  quiesced: boolean;
  disks: SummaryDisk[];
  error?: { code: string; message: string; remedy: string };
}

/** Runs `migrate --json` and demands success, equal targets and no snapshot left. */
export async function migrateWell(
  lab: Lab,
  vm: LabVm,
  options: MigrateOptions = {},
  env: Record<string, string> = {},
): Promise<Summary & { log: string }> {
  const run = await lab.migrate(
    vm,
    { ...options, extra: ["--json", ...(options.extra ?? [])] },
    env,
  );
  assert.equal(run.code, 0, `migrate failed: ${run.stderr}`);
  await assertEqualTargets(lab, vm);
  assertNoSnapshot(vm);
  return { ...(JSON.parse(run.stdout) as Summary), log: run.stderr };
}

export async function assertEqualTargets(lab: Lab, vm: LabVm): Promise<void> {
  for (const { record } of vm.disks) {
    const comparison = await lab.compareDisk(vm, record.key);
    assert.ok(comparison.equal, `${vm.name} disk-${record.key}: ${comparison.difference}`);
  }
}

/** After a cutover: the VM is off, so its disks are the truth, not a snapshot of them. */
export async function assertMoved(lab: Lab, vm: LabVm): Promise<void> {
  assertNoSnapshot(vm);
  assert.equal(vm.record.powerState, "poweredOff");
  for (const { key, targetFile, capacityBytes } of lab.targets.disksOf(vm)) {
    const { imagePath } = vm.disk(key);
    const { equal, difference } = await compareFiles(imagePath, targetFile, capacityBytes);
    assert.ok(equal, difference);
  }
}

export function assertNoSnapshot(vm: LabVm): void {
  assert.deepEqual(
    vm.snapshots.map(({ name }) => name),
    [],
    `${vm.name} has no snapshot left`,
  );
}

/** A foreseen failure: exit code, one line of cause, one of remedy, no snapshot, no stack trace. */
export function assertFailure(
  run: CliResult,
  code: number,
  cause: RegExp,
  remedy: RegExp = /\S/,
): void {
  const lines = run.stderr.trimEnd().split("\n");
  const at = lines.findIndex((line) => line.startsWith("error ["));
  assert.ok(at >= 0, `an error line in: ${run.stderr}`);
  assert.match(lines[at]!, cause);
  assert.match(lines[at + 1] ?? "", /^ {2}fix: /);
  assert.match(lines[at + 1] ?? "", remedy);
  assert.equal(lines.length, at + 2, `nothing after the remedy: ${run.stderr}`);
  assert.equal(run.code, code, run.stderr);
  assert.doesNotMatch(run.stderr, /^\s+at .*\.ts:\d+/m);
}
