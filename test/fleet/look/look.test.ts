// What people and programs see of a fleet: the commands themselves, on a real database.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import type { FleetStore } from "../../../src/fleet/database/store.ts";
import { samplesOf } from "../../../src/progress/metrics.ts";
import { findFreePort } from "../../lab/ports.ts";
import { LabPostgres } from "../../lab/postgres.ts";
import { startCli } from "../../lab/run-cli.ts";
import { cutoverOf, syncOf } from "../../report/fleet/sample.ts";
import { tempDir } from "../../temp-dir.ts";
import { until } from "../../until.ts";
import { alice, at, failed, LabFleet, plan, vm } from "../database/fleet.ts";

const server = await LabPostgres.start();
after(() => server[Symbol.asyncDispose]());

const cli = (fleet: LabFleet, command: string, ...args: string[]) =>
  startCli({ args: ["fleet", command, "--fleet-database", fleet.url, ...args] });

/** As a worker leaves it: the next VM that is due, run to this ending. */
async function runNext(store: FleetStore, ending: unknown): Promise<string> {
  const lease = (await store.claim(alice))!;
  await store.finish(lease, { status: "completed", exitCode: 0, ending });
  return lease.vm.name;
}

/** Two waves: one VM that failed, one that runs, one that waits, one that was cut over. */
async function livelyFleet(fleet: LabFleet): Promise<FleetStore> {
  const store = await fleet.openNew();
  const hot = { targetDropMs: 0, limits: { hostConnections: 24, datastoreRuns: 0, targetRuns: 4 } };
  const later = { wave: "2" };
  await store.apply(plan([vm("db01", { priority: 9 })], hot));
  await store.register({ ...alice, version: "3.1.0", parallel: 4 });
  await runNext(store, syncOf(0, { type: "full", bytes: 20 * 2 ** 30, disks: 2 }).ending);
  for (const bytes of [64 << 20, 16 << 20, 32 << 20]) {
    await fleet.sql("UPDATE vm SET sync_at = now()");
    await runNext(store, syncOf(0, { bytes, disks: 2, digest: "0a" }).ending);
  }
  await store.apply(plan([vm("db01", { priority: 9 }), vm("web01", { priority: 8 })], hot));
  await runNext(store, syncOf(0, { type: "full", bytes: 2 ** 30 }).ending);
  await store.cutover({ vms: ["web01"] });
  const cutover = (await store.claim(alice))!;
  assert.equal(cutover.action, "cutover");
  await store.finish(cutover, {
    status: "completed",
    exitCode: 0,
    ending: cutoverOf(0, 20_000, 140_000).ending,
  });
  const rest = [vm("app01", { ...later, priority: 7 }), vm("app02", { ...later, priority: 6 })];
  await store.apply(
    plan([vm("db01", { priority: 9 }), vm("web01", { priority: 8 }), ...rest], hot),
  );
  await store.finish((await store.claim(alice))!, failed("target-too-small", 5));
  const running = (await store.claim(alice))!;
  await store.place(running, at("host-1", 4, { targetServers: ["10.0.0.5:10809"] }));
  await store.renew(running, {
    ...{ stage: "Transfer", doneBytes: 3 * 2 ** 30 },
    ...{ plannedBytes: 10 * 2 ** 30, bytesPerSecond: 100 * 2 ** 20 },
  });
  return store;
}

test("a fleet is shown whole: what failed and how to mend it, what runs, waves, worker, host, each VM", async () => {
  await using fleet = await LabFleet.on(server);
  await livelyFleet(fleet);
  const { code, stdout, stderr } = await cli(fleet, "status").result;
  assert.equal(code, 0, stderr);
  for (const said of [
    /^4 VMs at .*: 1 in sync, 1 cut over, 1 running, 1 waiting for an operator$/m,
    /^ {2}app01 \(wave 2\): failed, \d+ s ago \[target-too-small\]: it was target-too-small$/m,
    /^ {4}fix: mend it$/m,
    /^ {4}then: migratekit fleet retry --vm app01$/m,
    /^app02 +2 +alice +sync: Transfer +30 % \(3\.0\/10\.0 GiB\) +100 MiB\/s +1:12$/m,
    /^ *1 +2 +1 +1 +0 +0 /m,
    /^alice +2? ?\d of 4 +\d+ s ago +3\.1\.0/m,
    /^vc\.example:443 host-1 +4 of 24$/m,
    /^ *10\.0\.0\.5:10809 +1 of 4$/m,
    /^db01 +1 +waiting +\d+ s ago +32\.0 MiB +█▃▅ /m,
    /^web01 +1 +cut-over /m,
    /^downtime: the last sync, and what 1 cutover took besides/m,
  ]) {
    assert.match(stdout, said);
  }
});

test("as a document it says the same, of all or of what was named; a name that is not there is refused", async () => {
  await using fleet = await LabFleet.on(server);
  await livelyFleet(fleet);
  const all = JSON.parse((await cli(fleet, "status", "--json").result).stdout);
  assert.deepEqual(
    all.vms.map(({ name, state }: { name: string; state: string }) => [name, state]),
    [
      ["app01", "failed"],
      ["app02", "running"],
      ["db01", "waiting"],
      ["web01", "cut-over"],
    ],
  );
  assert.deepEqual(all.total, { vm_count: 4, in_sync: 1, cut_over: 1, failed: 1, running: 1 });
  const db = all.vms[2];
  assert.equal(db.delta_bytes, 32 << 20);
  assert.equal(db.runs.length, 4);
  assert.equal(db.runs[3].disks[1].verification.digest, `sha256:${"0a".repeat(32)}`);
  assert.equal(db.predicted_downtime.downtime_ms, db.predicted_downtime.last_sync_ms + 120_000);
  const wave = JSON.parse((await cli(fleet, "status", "--json", "--wave", "2").result).stdout);
  assert.deepEqual(
    wave.vms.map(({ name }: { name: string }) => name),
    ["app01", "app02"],
  );
  assert.equal(wave.total.vm_count, 4, "sums are of the plan");
  const two = ["--vm", "db01", "--vm", "web01"];
  const named = (await cli(fleet, "status", ...two).result).stdout;
  assert.match(named, /^db01 /m);
  assert.doesNotMatch(named, /^app02 /m);
  for (const flag of ["--vm", "--wave"]) {
    const wrong = await cli(fleet, "status", flag, "db01,nosuch").result;
    assert.equal(wrong.code, 2, wrong.stdout);
    assert.match(wrong.stderr, new RegExp(`${flag} .*nosuch: not in the plan`));
  }
});

test("a thousand VMs that are well are summed up in a screen; --all has a line for each", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  const vms = Array.from({ length: 1000 }, (_, each) =>
    vm(`vm${String(each).padStart(4, "0")}`, { wave: String(1 + (each % 10)) }),
  );
  await store.apply(plan(vms));
  const short = await cli(fleet, "status").result;
  assert.ok(short.stdout.split("\n").length < 30, short.stdout);
  assert.match(short.stdout, /--all' has a line for each of the 1000 VMs/);
  const long = await cli(fleet, "status", "--all").result;
  assert.equal(long.stdout.match(/^vm\d{4} /gm)?.length, 1000);
});

test("--watch shows what changes, waits for a database that is away, and ends with a signal", async () => {
  await using own = await LabPostgres.start();
  await using fleet = await LabFleet.on(own);
  const store = await fleet.openNew();
  await store.apply(plan([vm("web01")]));
  const run = cli(fleet, "status", "--watch", "--json", "--log-format", "json");
  let [seen, log] = ["", ""];
  run.child.stdout?.on("data", (text) => (seen += text));
  run.child.stderr?.on("data", (text) => (log += text));
  const shows = (what: RegExp) => until(String(what), () => what.test(seen) || run.child.exitCode);
  await shows(/"state":"due"/);
  await own.stop();
  await until("it says so", () => log.includes("asking again"));
  await own.start();
  await store.pause({ all: true });
  await shows(/"state":"paused"/);
  assert.equal(log.match(/asking again/g)?.length, 1, "once for an absence, not for each look");
  run.child.kill("SIGTERM");
  assert.equal((await run.result).signal, "SIGTERM");
});

test("a database that is not there, and none that is named, are told in the first look", async () => {
  const nobody = `postgres://fleet@127.0.0.1:${await findFreePort()}/fleet`;
  for (const command of ["status", "report"]) {
    const args = ["fleet", command, "--json"];
    const away = await startCli({ args: [...args, "--fleet-database", nobody] }).result;
    assert.equal(away.code, 11, away.stderr);
    assert.equal(JSON.parse(away.stdout).error.code, "fleet-database-unreachable");
    const none = await startCli({ args }).result;
    assert.equal(none.code, 2, none.stderr);
    assert.match(none.stdout, /fleet report needs|fleet status needs/);
  }
});

test("the report's data is printed to the byte that the page was made from", async () => {
  await using fleet = await LabFleet.on(server);
  await livelyFleet(fleet);
  await using dir = await tempDir();
  const file = join(dir.path, "report.html");
  const title = "Rome & Milan";
  const { code, stdout, stderr } = await cli(
    ...([fleet, "report", "--html", file, "--json", "--title", title] as const),
  ).result;
  assert.equal(code, 0, stderr);
  const html = readFileSync(file, "utf8");
  const digest = createHash("sha256").update(stdout).digest("hex");
  assert.ok(html.includes(digest));
  assert.ok(stderr.includes(digest), stderr);
  assert.ok(html.includes("Rome &amp; Milan"));
  assert.equal(JSON.parse(stdout).title, title);
  assert.match(html, /<td data-heading="Downtime" class="amount">2:20<\/td>/);
  assert.equal(html.match(new RegExp("0a".repeat(32), "g"))?.length, 2, "both disks of db01");
});

test("a report that nobody would get, or at a place that cannot be written, is refused at once", async () => {
  await using fleet = await LabFleet.on(server);
  await fleet.openNew();
  const nothing = await cli(fleet, "report").result;
  assert.equal(nothing.code, 2);
  assert.match(nothing.stderr, /--html FILE/);
  await using dir = await tempDir();
  for (const file of [dir.path, join(dir.path, "none/report.html")]) {
    const refused = await cli(fleet, "report", "--html", file).result;
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /--html .*cannot be written/);
  }
});

test("one exporter tells of the whole fleet, also after the database was away", async () => {
  await using own = await LabPostgres.start();
  await using fleet = await LabFleet.on(own);
  await livelyFleet(fleet);
  const port = await findFreePort();
  const run = cli(fleet, "status", "--metrics-listen", `127.0.0.1:${port}`);
  const ask = (path: string) => fetch(`http://127.0.0.1:${port}${path}`);
  await until("it listens", () =>
    ask("/healthz").then(
      ({ ok }) => ok,
      () => false,
    ),
  );
  const text = await (await ask("/metrics")).text();
  const vms = samplesOf(text, "migratekit_fleet_vms");
  const count = (wave: string, state: string) =>
    vms.find(({ labels }) => labels.wave === wave && labels.state === state)?.value;
  assert.deepEqual(
    [count("1", "cut-over"), count("1", "waiting"), count("2", "failed"), count("2", "running")],
    [1, 1, 1, 1],
  );
  const [trouble] = samplesOf(text, "migratekit_fleet_vm_trouble");
  assert.deepEqual([trouble!.labels.vm, trouble!.labels.code], ["app01", "target-too-small"]);
  await own.stop();
  assert.equal((await ask("/metrics")).status, 503);
  assert.equal((await ask("/healthz")).status, 200);
  await own.start();
  await until("it tells again", async () => (await ask("/metrics")).status === 200);
  run.child.kill("SIGTERM");
  assert.equal((await run.result).signal, "SIGTERM");
});
