import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { assertEqualTargets } from "./migrate-checks.ts";
import { startAtTerminal, type TerminalResult, withoutEscapes } from "./terminal.ts";

const mebibyte = 1 << 20;

let lab: Lab;
let vm: LabVm;
before(async () => {
  const fill = { seed: 5, dataRatio: 1, zeroRatio: 0 };
  lab = await startLab({
    targets: "direct",
    vms: [
      {
        name: "web01",
        disks: [
          { capacityBytes: 16 * mebibyte, fill },
          { capacityBytes: 8 * mebibyte, fill: { ...fill, seed: 6 } },
        ],
      },
    ],
  });
  vm = lab.vm("web01");
});
after(() => lab.stop());
beforeEach(() => lab.vddk.setFaults({}));

/** A source that is as steady as a limit can make it, whatever else the machine does. */
const steady = ["--max-rate", "5M"];

let runNumber = 0;

/** Runs at a terminal and demands of all that was shown and posted that it never went back. */
async function watchedRun(extra: readonly string[], columns = 100): Promise<TerminalResult> {
  const jobId = `progress-${++runNumber}`;
  const args = lab.migrateArgs(vm, { jobId, extra: [...steady, ...extra] });
  const run = await startAtTerminal({ args, columns }).result;
  assert.equal(run.code, 0, run.output);
  assertShownForward(run, columns);
  assertPostedForward(jobId);
  await assertEqualTargets(lab, vm);
  return run;
}

interface Shown {
  atMs: number;
  percent: number;
  over: boolean;
}

/** What the total's line said, each time it was painted. */
function totalsShown(run: TerminalResult, name = "total"): Shown[] {
  const line = new RegExp(`^${name} .*?(\\d+)% +[\\d.]+/[\\d.]+ .iB(.*)$`, "gm");
  return run.writes.flatMap(({ atMs, text }) =>
    [...withoutEscapes(text).matchAll(line)].map((match) => ({
      atMs,
      percent: Number(match[1]),
      over: /Complete|done/.test(match[2] ?? ""),
    })),
  );
}

function assertShownForward(run: TerminalResult, columns: number): void {
  for (const name of ["total", "disk-2000", "disk-2001"]) {
    const shown = totalsShown(run, name);
    assert.ok(shown.length > 3, `${name} was shown`);
    assertForward(
      shown.map(({ percent }) => percent),
      name,
    );
    for (const { percent, over } of shown) assert.equal(percent === 100, over, `${name} at 100 %`);
    assert.equal(shown.at(-1)?.percent, 100);
  }
  for (const line of withoutEscapes(run.output).split("\n")) {
    if (/^(total|disk-)/.test(line)) assert.ok(line.length < columns, line);
  }
}

function assertPostedForward(jobId: string): void {
  const bodies = lab.vma.updatesOf(jobId).map(({ body }) => body);
  for (const disk of [undefined, "disk-2000", "disk-2001"]) {
    const own = bodies.filter((body) => body.disk_id === disk);
    const percents = own.map(({ percent }) => percent);
    assertForward(percents, disk ?? "job");
    const early = disk === undefined ? percents.slice(0, -1) : [];
    const ended = own.findIndex(({ stage }) => stage === "Complete");
    for (const [i, percent] of early.entries()) assert.ok(percent < 100 || i >= ended, "100 early");
    for (const body of own) {
      assert.ok(body.bytes_transferred <= body.total_bytes, JSON.stringify(body));
      const exact = body.total_bytes === 0 ? 0 : (100 * body.bytes_transferred) / body.total_bytes;
      assert.ok(body.percent <= exact + 1 || body.stage === "Complete", JSON.stringify(body));
    }
  }
  assert.equal(bodies.at(-1)?.percent, 100);
  assert.equal(bodies.at(-1)?.status, "completed");
  assert.deepEqual(lab.vma.violations, []);
}

function assertForward(percents: readonly number[], what: string): void {
  for (const [i, percent] of percents.slice(1).entries()) {
    assert.ok(percent >= percents[i]!, `${what} went from ${percents[i]} to ${percent} %`);
  }
}

/** When 50 % is shown, 40 to 60 % of the copying time has passed. */
function assertHonest(run: TerminalResult): void {
  const shown = totalsShown(run);
  const from = shown.findLast(({ percent }) => percent === 0)!.atMs;
  const to = shown.find(({ percent }) => percent >= 99)!.atMs;
  const half = shown.find(({ percent }) => percent >= 50)!.atMs;
  const share = (half - from) / (to - from);
  assert.ok(
    share >= 0.4 && share <= 0.6,
    `50 % shown after ${Math.round(share * 100)} % of the time`,
  );
}

test("full run: forward only, 100 % at the end only, and half means half of the time", async () => {
  assertHonest(await watchedRun(["--full"]));
});

test("incremental run: percentages are of what changed, and as honest", async () => {
  await vm.write(2000, 0, Buffer.alloc(10 * mebibyte, 7));
  await vm.write(2001, 0, Buffer.alloc(5 * mebibyte, 8));
  const run = await watchedRun([]);
  assertHonest(run);
  assert.match(withoutEscapes(run.output), /\/10\.0 MiB/);
});

test("a run with lost connections and failing reads goes on forward", async () => {
  await lab.vddk.setFaults({
    drop_after: 4,
    drop_after_count: 3,
    read_error_at: 3 * mebibyte,
    read_error_at_count: 2,
  });
  const run = await watchedRun(["--full"]);
  assert.match(run.output, /trying again/);
});

test("a resumed run begins where the dead one ended, not at 0", async () => {
  const dying = startCli({
    args: lab.migrateArgs(vm, { jobId: "dies", extra: ["--full", "--max-rate", "2M"] }),
  });
  while ((lab.vma.jobs.get("dies")?.percent ?? 0) < 30) await sleep(50);
  dying.child.kill("SIGKILL");
  await dying.result;
  const run = await watchedRun([]);
  assert.match(run.output, /resume copy/);
  const first = totalsShown(run).find(({ percent }) => percent > 0);
  assert.ok((first?.percent ?? 0) >= 10, `begins at ${first?.percent} %`);
});

test("--no-progress and pipes have log lines, one for a stage; NO_COLOR has no colours", async () => {
  const plainArgs = lab.migrateArgs(vm, { extra: ["--no-progress"] });
  const plain = await startAtTerminal({ args: plainArgs, columns: 80 }).result;
  assert.doesNotMatch(plain.output, /█|░/);
  const colourless = await startAtTerminal({
    args: lab.migrateArgs(vm, { extra: ["--full"] }),
    columns: 80,
    env: { NO_COLOR: "1" },
  }).result;
  assert.match(colourless.output, /█/);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it is what is looked for
  assert.doesNotMatch(colourless.output, /\u001b\[\d[\d;]*m/);

  const piped = await lab.migrate(vm, { extra: ["--full"] });
  assert.ok(!piped.stderr.includes("\u001b"));
  const lines = piped.stderr
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { stage?: string; msg: string });
  const stages = lines.flatMap(({ stage }) => (stage === undefined ? [] : [stage]));
  assert.deepEqual(stages, [
    ...["Discover", "EnableCBT", "Snapshot", "QueryCBT", "StartExports", "Transfer", "Finalize"],
    ...["PersistChangeIDs", "Complete"],
  ]);
});
