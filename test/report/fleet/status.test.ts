// `fleet status`: what an operator reads of a fleet, and what programs do.

import assert from "node:assert/strict";
import { test } from "node:test";
import { factsOf } from "../../../src/report/fleet/ending.ts";
import { experienceOf, predictDowntime, totalsOf } from "../../../src/report/fleet/fleet.ts";
import { fleetStatusText } from "../../../src/report/fleet/status-text.ts";
import { ago, busyFleet, cutoverOf, largeFleet, statusOf, syncOf, vmOf } from "./sample.ts";

const sheet = { columns: undefined, unicode: true };

test("trouble comes first, with what to do; then what runs, the waves, who works and where", () => {
  const text = fleetStatusText(busyFleet(), sheet, { all: false });
  const at = (what: RegExp) => {
    const found = text.search(what);
    assert.notEqual(found, -1, `${what} in:\n${text}`);
    return found;
  };
  const order = [
    /^8 VMs at 2026-11-27 17:00:00 UTC: 2 in sync|^8 VMs at/,
    /^trouble$/m,
    /^ {2}db01 \(wave 2\): failed 3 times, 12 min ago \[target-too-small\]: disk-2000: the target/m,
    /^ {4}fix: Make the volume as large/m,
    /^ {4}then: migratekit fleet retry --vm db01$/m,
    /^ {2}app01 \(wave 1\): vma3 is not heard of/m,
    /^ {2}app02 .*failed 2 times, 1 min ago \[target-unreachable\].*; tried again in 4:00/m,
    /^ {2}worker vma3: last heard of 5 min ago, with 1 run/m,
    /^ {2}web04: paused/m,
    /^running +wave +on +what/m,
    /^web02 +1 +vma1 +sync: Transfer +30 % \(3\.0\/10\.0 GiB\) +100 MiB\/s +1:12/m,
    /^wave +VMs +in sync +cut over +running +failed +next run/m,
    /^worker +runs/m,
    /^host \(connections\) +in use\nvc\.example\.com:443 host-11 +24 of 24/m,
    /^target server \(runs\)/m,
    /^VM +wave +state +last sync +delta +trend +downtime +next run/m,
    /^web03 +1 +waiting +30 min ago +128 MiB +▅?[▁-█]{3} +~ 2:40 +in 15:00/m,
    /^ {2}its cutover waits for db01's$/m,
    /^downtime: the last sync, and what 1 cutover took besides \(median 2:00\)$/m,
  ].map(at);
  assert.deepEqual(
    order,
    order.toSorted((a, b) => a - b),
    text,
  );
  assert.doesNotMatch(text, /datastore \(runs\)/, "where no limit holds nothing is to be told");
});

test("on a narrow terminal nothing is wider than it, in ASCII where it has no more", () => {
  const text = fleetStatusText(busyFleet(), { columns: 70, unicode: false }, { all: true });
  for (const line of text.split("\n")) assert.ok(line.length <= 70, line);
  assert.match(text, /^[\n\x20-\x7e]*$/);
});

test("thousands that are well are summed up by wave; --all has a line for each", () => {
  const fleet = largeFleet(1000);
  const startedMs = performance.now();
  const short = fleetStatusText(fleet, sheet, { all: false });
  const long = fleetStatusText(fleet, sheet, { all: true });
  const tookMs = performance.now() - startedMs;
  assert.ok(short.split("\n").length < 25, short);
  assert.ok(short.search(/^ +2 +100/m) < short.search(/^ *10 +100/m), "wave 10 is after wave 2");
  assert.match(short, /'migratekit fleet status --all' has a line for each of the 1000 VMs/);
  assert.equal(long.match(/^vm\d{5} /gm)?.length, 1000);
  // A bound against what grows with the square of the VMs, not for this machine's speed.
  assert.ok(tookMs < 5000, `${tookMs} ms`);
});

test("trouble of a whole fleet is bounded, and what is left out is counted", () => {
  const vms = Array.from({ length: 200 }, (_, at) => vmOf(`vm${at}`, "failed", { failures: 1 }));
  const text = fleetStatusText(statusOf(vms), sheet, { all: false });
  assert.equal(text.match(/ \(wave 1\): failed/g)?.length, 20);
  assert.match(text, /^ {2}and 180 more in trouble \(--all\)$/m);
  const all = fleetStatusText(statusOf(vms), sheet, { all: true });
  assert.equal(all.match(/ \(wave 1\): failed/g)?.length, 200);
});

test("names and messages from elsewhere cannot write on the terminal", () => {
  const evil = "\u001b[2Jx\ny";
  const error = { at: ago(1), code: "usage", message: evil, remedy: evil };
  const fleet = statusOf(
    [
      vmOf(evil, "failed", { wave: evil, failures: 1, lastError: error }),
      vmOf(`${evil}2`, "takeover", { why: evil }),
      vmOf(`${evil}3`, "running", { worker: evil }),
      vmOf(`${evil}4`, "paused", { why: evil }),
    ],
    {
      workers: [
        {
          name: evil,
          labels: [evil],
          version: evil,
          parallel: 1,
          seenAt: ago(9),
          alive: false,
          runs: 1,
        },
      ],
      hosts: [{ id: evil, used: 1, capacity: 2 }],
    },
  );
  // biome-ignore lint/suspicious/noControlCharactersInRegex: none may be in it
  assert.doesNotMatch(fleetStatusText(fleet, sheet, { all: true }), /[\u0000-\u0009\u000b-\u001f]/);
});

test("a fleet without a plan, and one without a worker, say what is next", () => {
  assert.match(fleetStatusText(statusOf([]), sheet, { all: false }), /migratekit fleet apply FILE/);
  const text = fleetStatusText(statusOf([vmOf("a", "due")]), sheet, { all: false });
  assert.match(text, /no worker yet: 'migratekit fleet work' is one/);
});

test("the downtime is foretold from the last delta alone, and from what cutovers took besides", () => {
  const full = syncOf(500, { type: "full", durationMs: 3_600_000 });
  const resumed = syncOf(400, { resumed: true, durationMs: 900_000 });
  const delta = syncOf(300, { durationMs: 40_000 });
  const failed = syncOf(100, { status: "failed", durationMs: 7000 });
  assert.equal(
    predictDowntime(vmOf("a", "waiting", { syncs: [full, resumed] }), undefined),
    undefined,
  );
  const vm = vmOf("a", "waiting", { syncs: [full, delta, resumed, failed] });
  assert.deepEqual(predictDowntime(vm, undefined), { lastSyncMs: 40_000 });
  const done = (besides: number) =>
    vmOf("b", "cut-over", { syncs: [cutoverOf(10, 20_000, 20_000 + besides)] });
  const experience = experienceOf([vm, done(60_000), done(500_000), done(90_000)]);
  assert.deepEqual(experience, { cutovers: 3, besidesSyncMs: 90_000 });
  assert.deepEqual(predictDowntime(vm, experience), { lastSyncMs: 40_000, allMs: 130_000 });
  assert.equal(predictDowntime(done(60_000), experience), undefined, "it is over");
  assert.equal(experienceOf([vm]), undefined);
});

test("facts are read from the endings of a sync and of a cutover, and no ending says nothing", () => {
  const sync = factsOf(syncOf(1, { bytes: 4096, disks: 2, digest: "0c" }));
  assert.deepEqual(
    [sync.type, sync.isDelta, sync.plannedBytes, sync.writtenBytes],
    ["incremental", true, 4096, 2048],
  );
  assert.equal(sync.disks[1]!.verification?.digest, `sha256:${"0c".repeat(32)}`);
  const cutover = factsOf(cutoverOf(1, 20_000, 140_000));
  assert.equal(cutover.isDelta, false, "its syncs are no measure of a delta's time");
  assert.deepEqual([cutover.downtimeMs, cutover.besidesSyncMs], [140_000, 120_000]);
  assert.equal(cutover.writtenBytes, (16 + 8) << 19, "passes and last sync");
  for (const ending of [undefined, null, "text", 7, [], { disks: "none", total: 5, passes: {} }]) {
    const facts = factsOf({ ...syncOf(1), bytes: undefined, ending } as never);
    assert.deepEqual(facts, { isDelta: false, disks: [] }, JSON.stringify(ending));
  }
});

test("sums are those of the waves, whatever part of the VMs is at hand", () => {
  const fleet = busyFleet();
  assert.deepEqual(totalsOf({ ...fleet, vms: [] }.waves), totalsOf(fleet.waves));
  assert.equal(totalsOf(fleet.waves).vms, 8);
});
