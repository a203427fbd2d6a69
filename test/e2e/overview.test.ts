// `list` and `status` without a job: what a machine knows of its VMs, and of the runs at work on it.

import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { KnownVm } from "../../src/report/overview/overview.ts";
import { State } from "../../src/state/state.ts";
import { startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { until } from "../until.ts";
import { runCommand, startCommand } from "./cli-commands.ts";
import { assertFailure, migrateWell } from "./migrate-checks.ts";
import { startAtTerminal, withoutEscapes } from "./terminal.ts";

let lab: Lab;
let web: LabVm;
let db: LabVm;
before(async () => {
  const fill = { seed: 5, dataRatio: 0.9, zeroRatio: 0 };
  lab = await startLab({
    targets: "direct",
    vms: [
      {
        name: "web01",
        disks: [
          { capacityBytes: 4 << 20, fill },
          { capacityBytes: 1 << 20, fill },
        ],
      },
      { name: "db01", disks: [{ capacityBytes: 2 << 20, fill }] },
    ],
  });
  web = lab.vm("web01");
  db = lab.vm("db01");
});
after(() => lab.stop());

const ours = (command: string, ...args: string[]) => ({
  args: [command, "--state-dir", lab.stateDir, ...args],
});

async function list(...args: string[]): Promise<KnownVm[]> {
  const { code, stdout, stderr } = await startCli(ours("list", "--json", ...args)).result;
  assert.equal(code, 0, stderr);
  const document = JSON.parse(stdout) as { state_dir: string; vms: KnownVm[] };
  assert.equal(document.state_dir, lab.stateDir);
  return document.vms;
}

test("a machine that knows no VM says so, and makes no state directory", async () => {
  const parent = mkdtempSync(join(tmpdir(), "mk-list-"));
  try {
    const none = join(parent, "none");
    for (const command of ["list", "status"]) {
      const { code, stdout } = await startCli({ args: [command, "--state-dir", none] }).result;
      assert.equal(code, 0);
      assert.match(stdout, command === "list" ? /knows of no VM yet/ : /no run is at work here/);
    }
    assert.equal(existsSync(none), false);
  } finally {
    rmSync(parent, { recursive: true });
  }
});

test("each step of a VM's way is in the list, from the state directory alone", async () => {
  await migrateWell(lab, web);
  await web.randomWrites(2000, { seed: 1, writes: 1, maximumBytes: 65_536 });
  const { disks } = await migrateWell(lab, web);
  await migrateWell(lab, db, { extra: ["--verify"] });
  assert.equal((await runCommand(lab, "verify", web)).code, 0);
  const cut = await runCommand(lab, "cutover", db, { extra: ["--yes", "--json"] });
  assert.equal(cut.code, 0, cut.stderr);
  await lab.migrate(web, { extra: ["--nbd-export-name", "missing-{key}"] });

  lab.vcenter.log.clear();
  const [dbNow, webNow, ...more] = await list();
  assert.deepEqual(more, []);
  assert.deepEqual(lab.vcenter.log.calls, []);
  assert.equal(webNow!.vm_path, web.path);
  assert.deepEqual(
    webNow!.disks.map((disk) => [disk.disk_id, disk.capacity_bytes]),
    [
      ["disk-2000", 4 << 20],
      ["disk-2001", 1 << 20],
    ],
  );
  for (const { target } of webNow!.disks) assert.match(target!, /^localhost:\d+#web01-\d+$/);
  assert.equal(webNow!.last_sync!.sync_type, "incremental");
  assert.equal(
    webNow!.delta_bytes,
    disks.reduce((sum, disk) => sum + disk.planned_bytes, 0),
  );
  assert.ok(webNow!.verified!.at > webNow!.last_sync!.at);
  assert.equal(webNow!.cut_over, undefined);
  assert.equal(webNow!.rehearsed, undefined);
  assert.equal(webNow!.trouble.length, 1);
  assert.match(
    webNow!.trouble[0]!,
    /^the last run \(migrate, .* UTC\) failed \[target-refused\]: /,
  );
  const { final_sync } = JSON.parse(cut.stdout) as { final_sync: { run_id: string } };
  assert.equal(dbNow!.cut_over!.run_id, final_sync.run_id);
  assert.ok(dbNow!.verified, "a sync with --verify compared all of it");
  assert.deepEqual(dbNow!.trouble, []);

  const only = await list("--vmware-path", db.path, "--vmware-endpoint", lab.vcenter.endpoint);
  assert.deepEqual(
    only.map(({ vm_path }) => vm_path),
    [db.path],
  );
  assert.deepEqual(await list("--vmware-endpoint", "other.example"), []);
});

test("a rehearsal that the state knows is shown, one that failed is trouble", async () => {
  using state = State.openExisting(lab.stateDir)!;
  const vm = state.listVms().find(({ vmPath }) => vmPath === web.path)!;
  const start = { command: "rehearse", version: "0", lockToken: "none" };
  const good = state.runs.startRun(vm, start);
  state.runs.finishRun(good, { status: "completed" });
  state.rehearsals.write(vm, { runId: good, verdict: "boots", result: {} });
  const bad = state.runs.startRun(vm, start);
  state.runs.finishRun(bad, { status: "failed", errorCode: "bug", message: "it would not boot" });
  const [found] = await list("--vmware-path", web.path);
  assert.equal(found!.rehearsed!.run_id, good);
  assert.equal(found!.rehearsed!.verdict, "boots");
  assert.match(found!.trouble.join(), /\(rehearse, .* failed \[bug\]: it would not boot/);
});

test("at a terminal the list fits its width and tells all; a dumb one and a pipe get no escapes", async () => {
  for (const columns of [60, 80, 120, 200]) {
    const args = ours("list").args;
    const { output } = await startAtTerminal({ args, columns }).result;
    const text = withoutEscapes(output);
    for (const line of text.trimEnd().split("\n").slice(1)) {
      assert.ok(line.length <= columns, `${columns}: ${line}`);
      assert.ok(!line.endsWith("…"), line);
    }
    assert.match(text, /^VM +running now +last sync/m);
    assert.match(text, /^web01 +- +\d+ \w+ ago/m);
    const wide = /^VM .* cut over$/m.test(text);
    if (columns !== 80) assert.equal(wide, columns > 80);
    if (!wide) assert.match(text, /^ {2}.*cut over \d+ \w+ ago/m);
    assert.match(text, /^ {2}disk-2000 4\.0 MiB → localhost:/m);
    assert.match(text, /^ {2}trouble: the last run \(rehearse/m);
  }
  const dumb = await startAtTerminal({
    args: ours("list").args,
    columns: 100,
    env: { TERM: "dumb", LC_ALL: "C" },
  }).result;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it is the range that is meant
  assert.doesNotMatch(dumb.output, /[^\u0000-\u007f]|\u001b/);
  assert.match(dumb.output, /disk-2000 4\.0 MiB -> localhost:/);
});

test("a run at work is in the list, and followed by status to its end without any API", async () => {
  const slow = ["--full", "--max-rate", "256K"];
  const run = startCommand(lab, "migrate", web, { extra: slow });
  const watched = startCli(ours("list", "--watch", "--json"));
  let seen = "";
  watched.child.stdout?.on("data", (chunk: Buffer) => {
    seen += chunk;
  });
  await until("the copy is seen", async () => {
    const [now] = await list("--vmware-path", web.path);
    return now?.running?.stage === "Transfer" && (now.running.percent ?? 0) > 0;
  });
  // It stands still while it is looked at, however long that takes.
  run.child.kill("SIGSTOP");
  const [now] = await list("--vmware-path", web.path);
  assert.equal(now!.running!.command, "migrate");
  assert.equal(now!.running!.pid, run.child.pid);
  assert.ok(!now!.trouble.some((text) => text.includes("did not finish")), now!.trouble.join());
  const shown = await startCli(ours("status")).result;
  assert.match(shown.stdout, /^\/Datacenter\/vm\/web01 \(migrate, run .*\): .*Transfer, [\d.]+ %/);
  assert.match(shown.stdout, /^disk-2000 +[█░]+ +[\d.]+ %/m);
  const asJson = await startCli(ours("status", "--json")).result;
  const [local] = (JSON.parse(asJson.stdout) as { runs: Record<string, unknown>[] }).runs;
  assert.equal(local!.phase, "Transfer");
  assert.ok(Number(local!.total_bytes) > 4_000_000, asJson.stdout);
  const following = startCli(ours("status", "--watch"));
  let followed = "";
  following.child.stdout?.on("data", (chunk: Buffer) => {
    followed += chunk;
  });
  await until("it is followed", () => followed.includes("Transfer"));
  run.child.kill("SIGCONT");
  const follow = await following.result;
  assert.equal(follow.code, 0, follow.stderr);
  assert.match(follow.stdout.trimEnd().split("\n").at(-1)!, /: completed$/);
  assert.equal((await run.result).code, 0);
  await until("the end is seen", () => /"trouble":\[\]/.test(seen.trimEnd().split("\n").at(-1)!));
  watched.child.kill("SIGINT");
  assert.equal((await watched.result).signal, "SIGINT");
  const documents = seen.trimEnd().split("\n");
  assert.ok(documents.length >= 3, "one for each change");
  assert.equal(new Set(documents).size, documents.length);
  const left = readdirSync(join(lab.stateDir, "locks")).filter((name) =>
    name.includes(".progress"),
  );
  assert.deepEqual(left, [], "nothing of a run is left beside its lock");
});

test("status --watch ends with a run that was killed, and the list says what is to be done", async () => {
  const run = startCommand(lab, "migrate", web, { extra: ["--full", "--max-rate", "256K"] });
  await until("the copy", async () => {
    const [now] = await list("--vmware-path", web.path);
    return now?.running?.stage === "Transfer";
  });
  const follow = startCli(ours("status", "--watch"));
  let seen = "";
  follow.child.stdout?.on("data", (chunk: Buffer) => {
    seen += chunk;
  });
  await until("it is followed", () => seen.includes("Transfer"));
  run.child.kill("SIGKILL");
  assertFailure(await follow.result, 6, /\[job-failed\].*ended as died/, /history/);
  const [now] = await list("--vmware-path", web.path);
  assert.equal(now!.running, undefined);
  const trouble = now!.trouble.join("\n");
  assert.match(trouble, /the last run \(migrate, .* UTC\) died/);
  assert.match(trouble, /the copy of disk-2000.* did not finish/);
  assert.match(trouble, /left its snapshot.*migratekit cleanup/);
  await migrateWell(lab, web);
  assert.deepEqual((await list("--vmware-path", web.path))[0]!.trouble, []);
});

test("progress that cannot be written changes nothing for the run", async () => {
  const locks = join(lab.stateDir, "locks");
  const name = `${web.record.instanceUuid.toLowerCase()}.progress`;
  // A folder with something in it cannot be renamed over, nor removed as a file.
  rmSync(join(locks, name), { force: true });
  mkdirSync(join(locks, name));
  writeFileSync(join(locks, name, "x"), "");
  try {
    await migrateWell(lab, web);
  } finally {
    rmSync(join(locks, name), { recursive: true });
  }
});
