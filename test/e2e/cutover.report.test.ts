// `cutover --report FILE`: written whatever the ending, refused at the start where it cannot be, and changing no ending.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { until } from "../until.ts";
import { runCommand, startCommand } from "./cli-commands.ts";
import { assertMoved, lab, vm } from "./cutover-lab.ts";
import { assertFailure } from "./migrate-checks.ts";

const dir = mkdtempSync(join(tmpdir(), "mk-report-"));
after(() => rmSync(dir, { recursive: true, force: true }));

const cutover = (...extra: string[]) =>
  runCommand(lab, "cutover", vm, { extra: ["--yes", ...extra] });

test("the report of a cutover that was verified says what was moved, when, by whom, and how to go back", async () => {
  const [text, html] = [join(dir, "done.txt"), join(dir, "done.html")];
  const run = await cutover("--report", text, "--verify", "--json");
  assert.equal(run.code, 0, run.stderr);
  await assertMoved();
  const {
    vm: moved,
    final_sync,
    downtime_ms,
  } = run.json<{
    vm: { instance_uuid: string };
    final_sync: { run_id: string; disks: { target: string }[] };
    downtime_ms: number;
  }>();
  const report = readFileSync(text, "utf8");
  for (const told of [
    vm.path,
    moved.instance_uuid,
    final_sync.run_id,
    final_sync.disks[0]!.target,
    lab.vcenter.endpoint,
    lab.vcenter.username,
    "by the guest itself",
    "--reopen",
  ]) {
    assert.ok(report.includes(told), `${told} in ${report}`);
  }
  assert.match(
    report,
    new RegExp(`^Downtime +(\\d+ min )?${Math.round(downtime_ms / 1000) % 60} s, from `, "m"),
  );
  assert.match(report, /^disk-2000 +equal +4\.0 MiB/m);
  const [disk] = lab.targets.disksOf(vm);
  const digest = spawnSync("sh", [
    "-c",
    `head -c ${disk!.capacityBytes} "$1" | sha256sum`,
    "sh",
    disk!.targetFile,
  ]);
  assert.match(report, new RegExp(`sha256:${digest.stdout.toString().slice(0, 64)}`));
  assert.ok(!report.includes(lab.vcenter.password));
  assert.equal(statSync(text).mode & 0o777, 0o644);

  vm.setPowerState("poweredOff");
  const again = await cutover("--report", html, "--reopen");
  assert.equal(again.code, 0, again.stderr);
  const page = readFileSync(html, "utf8");
  assert.match(page, /^<!doctype html>/);
  assert.match(page, /the machine was off before/);
  assert.match(page, /was not asked for \(--verify\)/);
  assert.deepEqual(
    readdirSync(dir).sort(),
    ["done.html", "done.txt"],
    "nothing half-written is left",
  );
});

test("a cutover that fails has its report, with the machine's power state", async () => {
  lab.vcenter.faults.add({ name: "guestIgnoresShutdown" });
  const file = join(dir, "failed.txt");
  const run = await cutover("--report", file, "--shutdown-timeout", "1s");
  assertFailure(run, 3, /\[shutdown-failed\]/, /./);
  const words = readFileSync(file, "utf8").replaceAll(/\s+/g, " ");
  assert.match(
    words,
    /The cutover failed: .*not down after 0:01 \[shutdown-failed\]\. live01 is still powered on/,
  );
  assert.match(words, /was not moved: its volumes must not be started/);
});

test("a file that cannot be written is refused before anything is asked or done", async () => {
  lab.vcenter.log.clear();
  mkdirSync(join(dir, "folder.html"));
  for (const [path, why] of [
    ["/no/such/folder/r.html", /there is no such file/],
    [join(dir, "folder.html"), /it is not a file/],
    [join(dir, "done.html", "r.txt"), /no directory/],
    ["/proc/r.txt", /cannot be written/],
    [join(dir, "r.pdf"), /kind is not known/],
  ] as const) {
    assertFailure(
      await cutover("--report", path),
      2,
      new RegExp(`--report .*${why.source}`),
      /\.html or \.txt|folder/,
    );
  }
  assert.deepEqual(lab.vcenter.log.calls, []);
  assert.ok(!existsSync(join(dir, "r.pdf")));
});

test("a file that cannot be written in the end changes nothing of the ending", async () => {
  const place = join(dir, "gone");
  mkdirSync(place);
  lab.vcenter.faults.add({ name: "slowGuestShutdown", value: 10 });
  const run = startCommand(lab, "cutover", vm, {
    extra: ["--yes", "--report", join(place, "r.html")],
  });
  await until("the guest is down", () => vm.record.powerState === "poweredOff");
  rmSync(place, { recursive: true });
  const { code, stderr } = await run.result;
  assert.equal(code, 0, stderr);
  assert.match(stderr, /"level":40,.*the report .*r\.html was not written/);
});
