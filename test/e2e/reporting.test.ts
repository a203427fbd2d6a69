// What only tells of a run changes nothing of how it ends.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, beforeEach, test } from "node:test";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { assertFailure, assertNoSnapshot, migrateWell, type Summary } from "./migrate-checks.ts";

let lab: Lab;
let vm: LabVm;
/** Paths at which no metrics file can be written, each for another reason. */
let unreachable: string[];
before(async () => {
  lab = await startLab({ targets: "direct" });
  vm = lab.vm("MyVM");
  const inLab = (name: string) => join(lab.dir, name);
  writeFileSync(inLab("a-file"), "");
  mkdirSync(join(inLab("a-directory"), "inside"), { recursive: true });
  execFileSync("mkfifo", [inLab("a-pipe")]);
  unreachable = [
    inLab("missing/x.prom"),
    inLab("a-file/x.prom"),
    inLab("a-directory"),
    inLab("a-pipe"),
    inLab(`${"x".repeat(300)}.prom`),
  ];
});
after(() => lab.stop());
beforeEach(() => lab.vddk.setFaults({}));

test("a metrics file that cannot be written, for whatever reason, leaves a success a success", async () => {
  for (const path of unreachable) {
    const { log } = await migrateWell(lab, vm, { extra: ["--metrics-file", path] });
    assert.match(log, /"level":40,.*the metrics file .* was not written: /, path);
  }
});

test("a metrics file that cannot be written leaves a failure its own error and exit code", async () => {
  await lab.vddk.setFaults({ nfc_refuse: 1 });
  for (const path of unreachable) {
    const run = await lab.migrate(vm, { extra: ["--json", "--metrics-file", path] });
    assertFailure(run, 4, /error \[source-unreachable\]/);
    assert.match(run.stderr, /the metrics file .* was not written: /, path);
    assert.equal((JSON.parse(run.stdout) as Summary).error?.code, "source-unreachable");
    assertNoSnapshot(vm);
  }
});

test("a history that takes nothing of a run leaves it its ending, and the next run its changes", async () => {
  await migrateWell(lab, vm);
  {
    using state = new DatabaseSync(join(lab.stateDir, "migratekit.db"));
    for (const [table, event] of [
      ["run", "UPDATE OF status"],
      ["run_stage", "INSERT"],
      ["run_disk", "INSERT"],
      ["run_snapshot", "UPDATE OF finished"],
    ]) {
      state.exec(
        `CREATE TRIGGER no_${table} BEFORE ${event} ON ${table} BEGIN SELECT RAISE(ABORT, 'full'); END`,
      );
    }
  }
  await vm.randomWrites(2000, { seed: 5, writes: 3 });
  const { log, sync_type } = await migrateWell(lab, vm);
  assert.equal(sync_type, "incremental");
  assert.match(log, /the end of the run is not in the history: /);
  assert.match(log, /the stage Transfer is not in the history: /);
  assert.match(log, /disk-2000 is not in the history: /);
  assert.match(log, /the snapshot's removal is not in the history: /);

  await lab.vddk.setFaults({ nfc_refuse: 1 });
  assertFailure(await lab.migrate(vm), 4, /error \[source-unreachable\]/);
  assertNoSnapshot(vm);
});
