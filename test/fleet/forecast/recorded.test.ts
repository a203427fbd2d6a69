// What a fleet's own runs measured, and what a forecast makes of it: a real database and the command itself.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import type { FleetStore } from "../../../src/fleet/database/store.ts";
import { LabPostgres } from "../../lab/postgres.ts";
import { startCli } from "../../lab/run-cli.ts";
import { cutoverOf, syncOf } from "../../report/fleet/sample.ts";
import { tempDir } from "../../temp-dir.ts";
import { alice, at, failed, LabFleet, plan, vm } from "../database/fleet.ts";

const server = await LabPostgres.start();
after(() => server[Symbol.asyncDispose]());

const gibibyte = 2 ** 30;
const names = ["moved", "synced", "fresh"];
const priorities: Record<string, number> = { moved: 9, synced: 8 };
const vms = names.map((name) => vm(name, { priority: priorities[name] ?? 0 }));

/** The next VM that is due, run for so long before an hour that is given, on a host that is known then. */
async function runNext(
  fleet: LabFleet,
  store: FleetStore,
  { ending, hour, seconds }: { ending: unknown; hour: number; seconds: number },
): Promise<string> {
  const lease = (await store.claim(alice))!;
  const places = at("host-1", 2, { datastores: ["vc.example:443 ds-1"] });
  assert.equal(await store.place(lease, places), "placed");
  await store.finish(lease, { status: "completed", exitCode: 0, ending });
  await fleet.sql(`UPDATE run SET started_at = timestamptz '2026-11-01T00:00Z' + interval '${hour} h',
    ended_at = timestamptz '2026-11-01T00:00Z' + interval '${hour} h ${seconds} s' WHERE token = ${lease.token}`);
  return lease.vm.name;
}

/** One VM was cut over, one has a full copy, ten times what may be read, and a run that failed; one is new. */
async function recordedFleet(fleet: LabFleet): Promise<FleetStore> {
  const store = await fleet.openNew();
  await store.apply(plan(vms));
  const full = (bytes: number) => syncOf(0, { type: "full", bytes, disks: 2 }).ending;
  const delta = (bytes: number) => syncOf(0, { bytes, disks: 2 }).ending;
  const moved = { ending: full(10 * gibibyte), hour: 0, seconds: 100 };
  assert.equal(await runNext(fleet, store, moved), "moved");
  await store.cutover({ vms: ["moved"] });
  const cutover = { ending: cutoverOf(0, 20_000, 140_000).ending, hour: 1, seconds: 160 };
  assert.equal(await runNext(fleet, store, cutover), "moved");
  const due = "UPDATE vm SET sync_at = now() WHERE name = 'synced'";
  const synced = { ending: full(20 * gibibyte), hour: 0, seconds: 100 };
  assert.equal(await runNext(fleet, store, synced), "synced");
  for (let hour = 1; hour <= 15; hour++) {
    await fleet.sql(due);
    await runNext(fleet, store, { ending: delta(64 << 20), hour, seconds: hour === 9 ? 20 : 30 });
  }
  await fleet.sql(due);
  const lost = (await store.claim(alice))!;
  await store.finish(lost, failed("vm-not-found"));
  return store;
}

test("of each VM the newest syncs are told, its full copy, where it lies and its cutover", async () => {
  await using fleet = await LabFleet.on(server);
  assert.deepEqual(await (await fleet.open()).recorded(), [], "there is no fleet yet");
  const store = await recordedFleet(fleet);
  const recorded = await store.recorded();
  const [moved, synced, fresh] = names.map((name) =>
    recorded.find(({ vmPath }) => vmPath === `/DC/vm/${name}`),
  );
  const start = Date.parse("2026-11-01T00:00Z");
  assert.deepEqual([moved!.isCutOver, moved!.downtimeMs], [true, 140_000]);
  assert.deepEqual([synced!.isCutOver, synced!.downtimeMs], [false, undefined]);
  assert.equal(synced!.host, "vc.example:443 host-1");
  assert.deepEqual(synced!.datastores, ["vc.example:443 ds-1"]);
  assert.equal(synced!.syncs.length, 11);
  const sizes = { durationMs: 100_000, plannedBytes: 20 * gibibyte, diskCount: 2 };
  assert.deepEqual(synced!.syncs[0], { kind: "full", startedAtMs: start, ...sizes });
  assert.deepEqual(synced!.syncs.at(-1), {
    ...{ kind: "incremental", startedAtMs: start + 15 * 3_600_000 },
    ...{ durationMs: 30_000, plannedBytes: 64 << 20, diskCount: 2 },
  });
  assert.deepEqual(fresh, {
    ...{ endpoint: "vc.example:443", vmPath: "/DC/vm/fresh" },
    ...{ datastores: [], syncs: [], isCutOver: false },
  });
});

interface Document {
  readonly vms: { name: string; host?: string; downtime_ms: number; cut_over?: boolean }[];
  readonly assumed: { what: string; vm_count: number; message: string }[];
  readonly measured?: { what: string; vm_count: number }[];
  readonly first_bytes: number;
}

test("a plan is foretold with what the fleet measured, and each figure's source is named; without its database as before", async () => {
  await using fleet = await LabFleet.on(server);
  await recordedFleet(fleet);
  await using dir = await tempDir();
  const file = join(dir.path, "plan.yaml");
  const lines = names.flatMap((name) => [
    `  - vmware-path: /DC/vm/${name}`,
    `    nbd-export-name: ${name}-{key}`,
  ]);
  const defaults = ["defaults:", "  vmware-endpoint: vc.example", "  every: 1h", "vms:"];
  writeFileSync(file, [...defaults, ...lines, ""].join("\n"));
  const args = ["fleet", "plan", file, "--state-dir", join(dir.path, "state")];
  const foretold = async (...more: string[]) => {
    const { code, stdout, stderr } = await startCli({ args: [...args, "--json", ...more] }).result;
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout) as Document;
  };
  const without = await foretold();
  assert.equal(without.measured, undefined);
  assert.ok(without.assumed.every(({ vm_count }) => vm_count === 3));
  const found = await foretold("--fleet-database", fleet.url);
  assert.deepEqual(
    found.vms.map(({ name, host, downtime_ms, cut_over }) => ({
      name,
      host,
      downtime_ms,
      cut_over,
    })),
    [
      { name: "moved", host: "vc.example:443 host-1", downtime_ms: 140_000, cut_over: true },
      { name: "synced", host: "vc.example:443 host-1", downtime_ms: 140_000, cut_over: undefined },
      { name: "fresh", host: undefined, downtime_ms: 140_000, cut_over: undefined },
    ],
  );
  assert.equal(found.first_bytes, 100 * gibibyte, "the new VM's alone, as assumed");
  assert.deepEqual(
    found.measured!.map(({ what, vm_count }) => [what, vm_count]),
    ["size", "rate", "change", "sync"].map((what) => [what, 1]),
  );
  const assumed = new Map(found.assumed.map((each) => [each.what, each]));
  // The median of 100 and 200 MiB/s is the higher one; the one that was synced has its own.
  assert.match(assumed.get("rate")!.message, /^205 MiB\/s /);
  assert.equal(assumed.get("rate")!.vm_count, 1);
  assert.match(assumed.get("downtime")!.message, /^2:20 .*as 1 cutover of the fleet took/);
  const inventory = join(dir.path, "vms.json");
  const row = {
    vm_path: "/DC/vm/synced",
    host: "esx1",
    datastores: ["d"],
    disks: [{}],
    disk_bytes: 9,
  };
  writeFileSync(inventory, JSON.stringify({ endpoint: "vc.example:443", vms: [row] }));
  const both = await foretold("--fleet-database", fleet.url, "--inventory", inventory);
  assert.equal(both.vms[1]!.host, "vc.example:443 esx1", "places have one name each");
  assert.deepEqual(both.measured, found.measured);
  const { stdout } = await startCli({ args: [...args, "--fleet-database", fleet.url] }).result;
  assert.match(stdout, /^measured of 1 VM: the rate of its copy: runs that the fleet recorded$/m);
});
