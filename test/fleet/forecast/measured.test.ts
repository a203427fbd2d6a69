import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import {
  measuredByInventory,
  measuredByRuns,
  measuredSyncs,
  mergeMeasured,
  vmKey,
} from "../../../src/fleet/forecast/measured.ts";
import { State } from "../../../src/state/state.ts";
import type { MeasuredSync } from "../../../src/state/sync-history.ts";

const dir = mkdtempSync(join(tmpdir(), "mk-measured-"));
after(() => rmSync(dir, { recursive: true }));

const sync = (
  kind: MeasuredSync["kind"],
  startedAtMs: number,
  plannedBytes: number,
  durationMs: number,
): MeasuredSync => ({ kind, startedAtMs, plannedBytes, durationMs, diskCount: 2 });
const hour = 3_600_000;

test("rates are those of the newest full copy and of all changes over their time", () => {
  const measured = measuredSyncs([
    sync("full", 0, 50_000, 50_000),
    sync("full", hour, 8_000_000, 2_000_000),
    sync("incremental", 2 * hour, 300, 9000),
    sync("mixed", 3 * hour, 1e9, 1),
    sync("incremental", 5 * hour, 900, 7000),
  ]);
  assert.deepEqual(measured, {
    diskCount: 2,
    syncedAt: 5 * hour,
    fullBytes: 8_000_000,
    bytesPerSecond: 4000,
    // 300 in the hour since the full copy began, 900 in two hours.
    changedBytesPerHour: 400,
    syncMs: 7000,
  });
});

test("what no sync told is left out: of a first copy alone, of an empty disk, of nothing", () => {
  assert.deepEqual(measuredSyncs([]), {});
  const first = measuredSyncs([sync("full", 5, 1000, 1000)]);
  assert.deepEqual(Object.keys(first), ["diskCount", "syncedAt", "fullBytes", "bytesPerSecond"]);
  const empty = measuredSyncs([sync("full", 5, 0, 1000)]);
  assert.deepEqual(Object.keys(empty), ["diskCount", "syncedAt", "fullBytes"]);
});

test("the state's runs, rehearsals and cutovers are found by endpoint and path, however they are spelt", () => {
  using state = State.open(join(dir, "state"));
  const vm = {
    endpoint: "VC.example.com:443",
    instanceUuid: "00000000-0000-0000-0000-00000000cafe",
    vmPath: "/DC/vm/a",
  };
  const runId = state.runs.startRun(vm, { command: "migrate", version: "3", lockToken: "t" });
  const none = { copiedBytes: 0, zeroedBytes: 0, skippedBytes: 0, retries: 0, resumed: false };
  const disk = { ...none, syncType: "full", reason: "r", capacityBytes: 1e9 } as const;
  state.runs.recordDisk(runId, 2000, { ...disk, plannedBytes: 1e6, durationMs: 1, finished: true });
  state.runs.finishRun(runId, { status: "completed" });
  const key = vmKey("vc.example.com", "/DC/vm/a");
  const measured = measuredByRuns(state).get(key)!;
  assert.equal(measured.fullBytes, 1e6);
  assert.ok(measured.bytesPerSecond! > 0);
  assert.deepEqual([measured.downtimeMs, measured.isCutOver], [undefined, undefined]);
  const result = { forecast: { downtime_ms: 90_000, conversion_ms: 1 } };
  state.rehearsals.write(vm, { runId, verdict: "boots", result });
  state.markCutOver(vm, runId);
  const later = measuredByRuns(state).get(vmKey("vc.example.com:443", "/DC/vm/a"))!;
  assert.deepEqual([later.downtimeMs, later.isCutOver], [90_000, true]);
});

test("an inventory tells hosts, datastores and sizes, each vCenter's as its own", () => {
  const path = join(dir, "vms.json");
  const rows = [
    {
      vm_path: "/DC/vm/a",
      host: "esx1",
      datastores: ["fast", "slow"],
      disks: [{}, {}],
      disk_bytes: 100,
      used_bytes: 70,
    },
    { vm_path: "/DC/vm/b", datastores: [], disks: [{}], disk_bytes: 100, used_bytes: 170 },
    { vm_path: "/DC/vm/c", datastores: [], disks: [], disk_bytes: 0 },
  ];
  writeFileSync(path, JSON.stringify({ endpoint: "vc:443", vms: rows }));
  assert.deepEqual(Object.fromEntries(measuredByInventory(path)), {
    "vc /DC/vm/a": {
      host: "vc:443 esx1",
      datastores: ["vc:443 fast", "vc:443 slow"],
      diskCount: 2,
      fullBytes: 70,
    },
    "vc /DC/vm/b": { diskCount: 1, fullBytes: 100 },
    "vc /DC/vm/c": {},
  });
});

test("a file that is no inventory is refused with what makes one", () => {
  const path = join(dir, "other.json");
  for (const text of ["", "{", "[]", "7", "{}", '{"endpoint":"vc","vms":[{}]}', '{"vms":[]}']) {
    writeFileSync(path, text);
    assert.throws(
      () => measuredByInventory(path),
      /other.json: is not what inventory --json writes/,
    );
  }
  assert.throws(
    () => measuredByInventory(join(dir, "none")),
    /cannot be read: there is no such file/,
  );
});

test("what knows better comes last, field by field", () => {
  const one = new Map([["a", { host: "h", fullBytes: 1 }]]);
  const other = new Map([
    ["a", { fullBytes: 2 }],
    ["b", {}],
  ]);
  assert.deepEqual(Object.fromEntries(mergeMeasured(one, other)), {
    a: { host: "h", fullBytes: 2 },
    b: {},
  });
});
