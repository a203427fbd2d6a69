// The fleet for Prometheus: what is told, that it stays bounded, and the small server that tells it.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { MigratekitError } from "../../../src/errors.ts";
import type { WorkerFacts } from "../../../src/fleet/worker/watch.ts";
import { samplesOf } from "../../../src/progress/metrics.ts";
import { fleetMetricsText, workerMetricsText } from "../../../src/report/fleet/metrics.ts";
import { serveMetrics } from "../../../src/report/fleet/serve-metrics.ts";
import { busyFleet, largeFleet, nowMs, statusOf, vmOf } from "./sample.ts";

const worker: WorkerFacts = {
  name: "vma1",
  parallel: 4,
  draining: false,
  sinceDatabaseMs: 1500,
  runs: [
    { action: "migrate", leaseLeftMs: 110_000, bytesPerSecond: 100 },
    { action: "migrate", leaseLeftMs: 90_500, bytesPerSecond: 50 },
    { action: "cutover", leaseLeftMs: 119_000, bytesPerSecond: 0 },
  ],
  ended: { completed: 7, failed: 1, interrupted: 0, lost: 2 },
  copiedBytes: 12_345,
};

/** As `name{labels}` to value; each line is checked for being one of the format's. */
function seriesIn(text: string): Map<string, number> {
  const series = new Map<string, number>();
  const told = { HELP: new Set<string>(), TYPE: new Set<string>() };
  for (const line of text.trimEnd().split("\n")) {
    const comment = /^# (HELP|TYPE) (\w+) (.+)$/.exec(line);
    if (comment) {
      const kind = comment[1] as "HELP" | "TYPE";
      assert.ok(!told[kind].has(comment[2]!), `${line}: a second time`);
      told[kind].add(comment[2]!);
      continue;
    }
    const match = /^([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*\})? (-?[\d.e+-]+)$/.exec(
      line,
    );
    assert.ok(match, line);
    const [, name = "", labels = "", value] = match;
    assert.ok(told.HELP.has(name) && told.TYPE.has(name), `${name} is explained first`);
    assert.ok(!series.has(name + labels), `${line}: a second time`);
    series.set(name + labels, Number(value));
  }
  return series;
}

test("a fleet is told by waves, workers and places, each once", () => {
  const series = seriesIn(fleetMetricsText(busyFleet()));
  const is = (name: string, value: number) =>
    assert.equal(series.get(`migratekit_fleet_${name}`), value, name);
  is("status_timestamp_seconds", nowMs / 1000);
  is('vms{wave="1",state="running"}', 1);
  is('vms{wave="2",state="running"}', 0);
  is('vms{wave="2",state="failed"}', 1);
  is('wave_vms{wave="1"}', 5);
  is('wave_cut_over_vms{wave="1"}', 1);
  is('wave_oldest_sync_age_seconds{wave="2"}', 36_000);
  is('wave_longest_due_seconds{wave="1"}', 0);
  is('wave_running_bytes_per_second{wave="1"}', 100 * 2 ** 20);
  is('wave_delta_bytes{wave="2"}', 128 << 20);
  is('vm_trouble{vm="db01",wave="2",state="failed",code="target-too-small"}', 1);
  is('vm_trouble{vm="app01",wave="1",state="takeover",code=""}', 1);
  is('worker_up{worker="vma1"}', 1);
  is('worker_up{worker="vma3"}', 0);
  is('worker_info{worker="vma3",version="3.0.0"}', 1);
  is('host_connections{host="vc.example.com:443 host-11"}', 24);
  is('host_connections_max{host="vc.example.com:443 host-11"}', 24);
  is('datastore_runs{datastore="vc.example.com:443 datastore-1"}', 2);
  is('target_server_runs_max{target_server="10.0.0.5:10809"}', 4);
  assert.ok(
    ![...series.keys()].some((key) => key.startsWith("migratekit_fleet_datastore_runs_max")),
  );
});

test("a VM that waits longest is told, and one that is due later waits for nothing", () => {
  const due = (minutes: number) => ({
    nextRunAt: new Date(nowMs - minutes * 60_000).toISOString(),
  });
  const text = fleetMetricsText(
    statusOf([vmOf("a", "due", due(7)), vmOf("b", "due", due(90)), vmOf("c", "waiting", due(500))]),
  );
  assert.equal(samplesOf(text, "migratekit_fleet_wave_longest_due_seconds")[0]!.value, 5400);
});

test("ten thousand VMs make no more series than ten; trouble is bounded", () => {
  const few = seriesIn(fleetMetricsText(largeFleet(10)));
  const many = seriesIn(fleetMetricsText(largeFleet(10_000)));
  assert.deepEqual([...many.keys()], [...few.keys()]);
  const failed = Array.from({ length: 5000 }, (_, at) => vmOf(`vm${at}`, "failed"));
  const series = seriesIn(fleetMetricsText(statusOf(failed)));
  assert.equal([...series.keys()].filter((key) => key.includes("_vm_trouble")).length, 1000);
});

test("names with quotes, slashes and line breaks stay one label", () => {
  const evil = 'a"b\\c\nd{}';
  const text = fleetMetricsText(statusOf([vmOf(evil, "failed", { wave: evil })]));
  seriesIn(text);
  assert.equal(samplesOf(text, "migratekit_fleet_vm_trouble")[0]!.labels.vm, evil);
});

test("a worker tells what it knows of itself, and of a database that never answered nothing", () => {
  const series = seriesIn(workerMetricsText(worker));
  const is = (name: string, value: number | undefined) =>
    assert.equal(series.get(`migratekit_worker_${name}`), value, name);
  is('runs{worker="vma1",action="migrate"}', 2);
  is('runs{worker="vma1",action="cutover"}', 1);
  is('runs_max{worker="vma1"}', 4);
  is('database_silence_seconds{worker="vma1"}', 1.5);
  is('lease_left_seconds{worker="vma1"}', 90.5);
  is('copy_bytes_per_second{worker="vma1"}', 150);
  is('runs_total{worker="vma1",status="lost"}', 2);
  is('copied_bytes_total{worker="vma1"}', 12_345);
  is('draining{worker="vma1"}', 0);
  const idle = workerMetricsText({ ...worker, runs: [], sinceDatabaseMs: undefined });
  assert.doesNotMatch(idle, /silence|lease_left/);
  seriesIn(idle);
});

test("what is told is what promtool takes, where it is to be had", (t) => {
  for (const text of [fleetMetricsText(busyFleet()), workerMetricsText(worker)]) {
    const check = spawnSync("promtool", ["check", "metrics"], { input: text, encoding: "utf8" });
    if (check.error) {
      t.diagnostic("promtool is not here; the format was checked by this test alone");
      seriesIn(text);
    } else assert.equal(check.status, 0, check.stdout + check.stderr);
  }
});

const here = { host: "127.0.0.1", port: 0 };

test("the server gives metrics and health, and nothing else", async () => {
  await using server = await serveMetrics(here, () => "a_metric 1\n");
  const { port } = server.address;
  const ask = (path: string, method = "GET") =>
    fetch(`http://127.0.0.1:${port}${path}`, { method });
  const metrics = await ask("/metrics?x=1");
  assert.equal(metrics.status, 200);
  assert.match(metrics.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/);
  assert.equal(await metrics.text(), "a_metric 1\n");
  const head = await ask("/metrics", "HEAD");
  assert.deepEqual([head.status, await head.text()], [200, ""]);
  assert.equal(await (await ask("/healthz")).text(), "ok\n");
  for (const path of ["/", "/metrics/", "/metrics/../etc/passwd", "/favicon.ico"]) {
    assert.equal((await ask(path)).status, 404, path);
  }
  for (const method of ["POST", "PUT", "DELETE"]) {
    const refused = await ask("/metrics", method);
    assert.deepEqual([refused.status, refused.headers.get("allow")], [405, "GET, HEAD"], method);
  }
});

test("a rendering that fails is a 503 that says why, and the next one may go well", async () => {
  let failing = true;
  const failures: unknown[] = [];
  const render = async () => {
    if (failing) throw new Error("the database does not answer");
    return "a_metric 1\n";
  };
  await using server = await serveMetrics(here, render, (error) => failures.push(error));
  const url = `http://127.0.0.1:${server.address.port}`;
  const answer = await fetch(`${url}/metrics`);
  assert.equal(answer.status, 503);
  assert.match(await answer.text(), /the database does not answer/);
  assert.equal(failures.length, 1);
  assert.equal((await fetch(`${url}/healthz`)).status, 200, "it is alive all the same");
  failing = false;
  assert.equal((await fetch(`${url}/metrics`)).status, 200);
});

test("who asks at the same time shares one rendering", async () => {
  let renderings = 0;
  const gate = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  await using server = await serveMetrics(here, async () => {
    renderings++;
    begun.resolve();
    await gate.promise;
    return `renderings ${renderings}\n`;
  });
  const ask = () => fetch(`http://127.0.0.1:${server.address.port}/metrics`);
  const first = ask();
  await begun.promise;
  const others = [ask(), ask(), ask()];
  // They are there once something that was sent after them has been answered.
  await Promise.all(
    [1, 2, 3, 4].map(() => fetch(`http://127.0.0.1:${server.address.port}/healthz`)),
  );
  gate.resolve();
  const texts = await Promise.all([first, ...others].map(async (answer) => (await answer).text()));
  assert.ok(renderings <= 2, `${renderings}`);
  assert.equal(texts.length, 4);
});

test("a server that is closed ends at once, whoever is connected and says nothing", async () => {
  const server = await serveMetrics(here, () => "");
  const socket = connect(server.address.port, "127.0.0.1");
  await once(socket, "connect");
  const gone = once(socket, "close");
  await server[Symbol.asyncDispose]();
  await gone;
});

test("nonsense on the line is no harm to the next who asks", async () => {
  await using server = await serveMetrics(here, () => "a_metric 1\n");
  const socket = connect(server.address.port, "127.0.0.1");
  socket.on("error", () => {});
  socket.end("\u0000\u0001 no HTTP at all\r\n\r\n");
  await once(socket, "close");
  assert.equal((await fetch(`http://127.0.0.1:${server.address.port}/metrics`)).status, 200);
});

test("an address that cannot be listened on is a mistake in the flag, and named", async () => {
  await using server = await serveMetrics(here, () => "");
  const taken = serveMetrics({ host: "127.0.0.1", port: server.address.port }, () => "");
  await assert.rejects(taken, (error: unknown) => {
    assert.ok(error instanceof MigratekitError);
    assert.equal(error.code, "usage");
    assert.match(
      error.message,
      /^--metrics-listen 127\.0\.0\.1:\d+: cannot listen there: .*EADDRINUSE/,
    );
    return true;
  });
});
