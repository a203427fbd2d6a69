import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { findFreePort } from "../lab/ports.ts";
import { startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import { until } from "../until.ts";
import { assertFailure } from "./migrate-checks.ts";
import { startAtTerminal, withoutEscapes } from "./terminal.ts";

let lab: Lab;
before(async () => {
  const fill = { seed: 5, dataRatio: 0.9, zeroRatio: 0 };
  lab = await startLab({
    targets: "direct",
    vms: [
      {
        name: "web01",
        disks: [
          { capacityBytes: 12 << 20, fill },
          { capacityBytes: 4 << 20, fill },
        ],
      },
    ],
  });
});
after(() => lab.stop());

function status(...args: string[]) {
  return startCli({ args: ["status", "--vma-url", lab.vma.url, ...args] });
}

test("a job under way is shown as a table, followed line by line in a pipe, and as JSON", async () => {
  const jobId = "job/1 ü";
  const run = startCli({
    args: lab.migrateArgs(lab.vm("web01"), { jobId, extra: ["--full", "--max-rate", "2M"] }),
  });
  await until("the copy", () => (lab.vma.jobs.get(jobId)?.bytesTransferred ?? 0) > 0);
  const watched = status(jobId, "--watch").result;
  const watchedJson = status(jobId, "--watch", "--json").result;
  const shown = await status(jobId).result;
  assert.equal(shown.code, 0, shown.stderr);
  const lines = shown.stdout.trimEnd().split("\n");
  assert.match(
    lines[0]!,
    /^job\/1 ü: in_progress, full, Transfer, [\d.]+ %, [\d.]+\/\d+(\.\d)? MiB/,
  );
  assert.match(lines[1]!, /^disk +done +bytes +rate$/);
  assert.match(shown.stdout, /^disk-2000 +[█░]{20} +[\d.]+ % +[\d.]+\/[\d.]+ MiB/m);
  assert.match(shown.stdout, /^disk-2001 /m);
  assert.match(lines.at(-1)!, /^total +[█░]{20} +[\d.]+ % /);

  assert.equal((await run.result).code, 0);
  const followed = await watched;
  assert.equal(followed.code, 0, followed.stderr);
  const told = followed.stdout.trimEnd().split("\n");
  assert.match(told.at(-1)!, /: completed, full, Complete, 100 %, /);
  assert.equal(new Set(told).size, told.length, "a line only when something changed");
  assert.ok(told.length >= 2, followed.stdout);
  const documents = (await watchedJson).stdout.trimEnd().split("\n");
  const last = JSON.parse(documents.at(-1)!) as { status: string; disks: unknown[] };
  assert.equal(last.status, "completed");
  assert.equal(last.disks.length, 2);

  const ended = await status(jobId).result;
  assert.match(ended.stdout, /^job\/1 ü: completed, full, Complete, 100 %/);
});

test("at a terminal no line is longer than it is wide, and --watch redraws in place", async () => {
  for (const columns of [40, 80, 200]) {
    const args = ["status", "job/1 ü", "--watch", "--vma-url", lab.vma.url];
    const run = await startAtTerminal({ args, columns }).result;
    assert.equal(run.code, 0);
    assert.ok(run.output.includes("\u001b[2J\u001b[H"));
    for (const line of withoutEscapes(run.output).split("\n")) {
      assert.ok(
        line.length <=
          Math.max(columns, "job/1 ü: completed, full, Complete, 100 %, 14.4/14.4 MiB".length),
        line,
      );
    }
    assert.match(withoutEscapes(run.output), columns < 80 ? /…/ : /total +█+ +100 %/);
  }
});

test("a failed job's error is shown, and --watch ends with it", async () => {
  const jobId = "failing";
  const refused = ["--nbd-port", String(await findFreePort())];
  await lab.migrate(lab.vm("web01"), { jobId, extra: refused });
  const { code, stdout } = await status(jobId).result;
  assert.equal(code, 0);
  assert.match(stdout, /^failing: failed, /);
  assert.match(stdout, /^error: .*refused/im);
  for (const extra of [[], ["--json"]]) {
    const watched = await status(jobId, "--watch", ...extra).result;
    assertFailure(watched, 6, /\[job-failed\]: failing ended as failed: .*refused/i, /history/);
  }
  const args = ["status", jobId, "--watch", "--vma-url", lab.vma.url];
  const terminal = await startAtTerminal({ args, columns: 120 }).result;
  assert.equal(terminal.code, 6);
});

test("an unknown job and no service end with cause and remedy", async () => {
  assertFailure(await status("no-such-job").result, 2, /knows no such job/, /job ID/);
  const nowhere = `http://127.0.0.1:${await findFreePort()}`;
  const away = await startCli({ args: ["status", "x", "--vma-url", nowhere] }).result;
  assertFailure(away, 6, /\[vma-unavailable\].*REFUSED/, /--vma-url/);
});

test("a signal ends --watch at once and is no error", async () => {
  await fetch(`${lab.vma.url}/api/v1/progress/open/update`, {
    method: "POST",
    body: JSON.stringify({
      stage: "Transfer",
      status: "in_progress",
      bytes_transferred: 1,
      total_bytes: 4,
      throughput_bps: 0,
      percent: 25,
    }),
  });
  const run = status("open", "--watch");
  let seen = "";
  run.child.stdout?.on("data", (chunk: Buffer) => {
    seen += chunk;
  });
  await until("the first line", () => seen.includes("25.0 %"));
  run.child.kill("SIGINT");
  const result = await run.result;
  assert.equal(result.signal, "SIGINT");
  assert.doesNotMatch(result.stderr, /error \[/);
});
