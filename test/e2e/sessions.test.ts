// Sessions at terminals of four widths and of less ability, and into a file: what is seen, captured and judged.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { cliCommand, startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { Screen } from "../progress/screen.ts";
import { assertFailure } from "./migrate-checks.ts";
import { startAtTerminal, withoutEscapes } from "./terminal.ts";

let lab: Lab;
let vm: LabVm;
const dir = mkdtempSync(join(tmpdir(), "mk-sessions-"));
before(async () => {
  const fill = { seed: 5, dataRatio: 0.9, zeroRatio: 0 };
  const disks = [4 << 20, 1 << 20].map((capacityBytes) => ({ capacityBytes, fill }));
  lab = await startLab({ targets: "direct", vms: [{ name: "web01", disks }] });
  vm = lab.vm("web01");
});
after(async () => {
  rmSync(dir, { recursive: true });
  await lab.stop();
});

const migrate = (...extra: string[]) => lab.migrateArgs(vm, { extra: ["--full", ...extra] });
/** What looks at the state directory, and what is made from tables. */
const looks = () => [
  ["list", "--state-dir", lab.stateDir],
  ["history", "--state-dir", lab.stateDir],
  ["help", "errors"],
  ["migrate", "--help"],
];

async function shown(args: readonly string[], columns: number, env: Record<string, string> = {}) {
  const { code, output } = await startAtTerminal({ args, columns, env }).result;
  assert.equal(code, 0, output);
  return output;
}

/** The picture that is left standing; a line of a log, or the next command, may be wider than the terminal. */
function picture(output: string, columns: number): string[] {
  const screen = new Screen(Math.max(columns, 5000));
  screen.write(output);
  return screen.lines();
}

const bars = /^(disk-2000|disk-2001|total) +(?:full )?(?:[█#]+ )?100%/;

for (const columns of [60, 80, 120, 200]) {
  test(`at ${columns} columns the bars fit, stand complete at the end, and tables are not wider`, async () => {
    const lines = picture(await shown(migrate("--max-rate", "20M"), columns), columns);
    const barLines = lines.filter((line) => bars.test(line));
    assert.equal(barLines.length, 3, lines.join("\n"));
    for (const line of barLines) assert.ok(line.length < columns, `${line.length}: ${line}`);
    assert.ok(
      lines.some((line) => line.includes("complete")),
      lines.join("\n"),
    );
    for (const args of looks()) {
      const text = withoutEscapes(await shown(args, columns));
      const [, ...rest] = text.trimEnd().split("\n"); // the first names the state directory
      const wide = args[0] === "history" || args[0] === "list" ? columns : Math.max(80, columns);
      for (const line of rest) assert.ok(line.length <= wide, `${args[0]}: ${line}`);
    }
  });
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: colours are what is looked for
const colour = /\u001b\[\d+(;\d+)*m/;

test("NO_COLOR and --color never draw without colours, --color always colours a pipe, and is the nearer word", async () => {
  for (const [args, env] of [
    [migrate(), { NO_COLOR: "1" }],
    [migrate("--color", "never"), {}],
  ] as const) {
    const output = await shown(args, 100, env);
    assert.doesNotMatch(output, colour);
    assert.ok(output.includes("\u001b[?25l"), "it is still drawn live");
  }
  assert.match(await shown(migrate(), 100), colour);
  const args = migrate("--color", "always", "--log-format", "pretty");
  const piped = await startCli({ args, env: { NO_COLOR: "1" } }).result;
  assert.match(piped.stderr, colour);
});

test("TERM=dumb gets lines without an escape, LANG=C gets ASCII alone", async () => {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it is the range that is meant
  const beyondAscii = /[^\u0000-\u007f]/;
  for (const args of [migrate(), ...looks()]) {
    assert.ok(!(await shown(args, 80, { TERM: "dumb" })).includes("\u001b"), args[0]);
    if (args[0] !== "help" && args[1] !== "--help") {
      assert.doesNotMatch(await shown(args, 80, { LANG: "C", LC_ALL: "C" }), beyondAscii, args[0]);
    }
  }
});

/** Runs it with its streams in files, as `>out 2>err` does, and what else is given. */
async function intoFiles(args: readonly string[], third?: "file" | "pipe") {
  const path = (name: string) => join(dir, name);
  const files = ["out", "err", "third"].map((name) => openSync(path(name), "w"));
  const [program, ...first] = cliCommand;
  const child = spawn(program, [...first, ...args], {
    stdio: [
      "ignore",
      files[0]!,
      files[1]!,
      ...(third === "file" ? [files[2]!] : third === "pipe" ? (["pipe"] as const) : []),
    ],
  });
  const code = await new Promise((resolve) => child.on("exit", resolve));
  for (const fd of files) closeSync(fd);
  const [out, err, other] = ["out", "err", "third"].map((name) => readFileSync(path(name), "utf8"));
  return { code, out: out!, err: err!, third: other! };
}

interface ProgressLine {
  type: string;
  stage: string;
  percent: number;
  total_bytes: number;
  disks: { disk_id: string; finished: boolean }[];
}

function progressOf(text: string): ProgressLine[] {
  const all = text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as ProgressLine);
  return all.filter(({ type }) => type === "progress");
}

function assertTold(lines: readonly ProgressLine[]): void {
  const stages = new Set(lines.map(({ stage }) => stage));
  for (const stage of ["Discover", "Snapshot", "Transfer", "Complete"])
    assert.ok(stages.has(stage), stage);
  const last = lines.at(-1)!;
  assert.deepEqual([last.stage, last.percent], ["Complete", 100]);
  assert.deepEqual(
    last.disks.map((disk) => [disk.disk_id, disk.finished]),
    [
      ["disk-2000", true],
      ["disk-2001", true],
    ],
  );
  for (const [at, line] of lines.entries()) {
    assert.ok(at === 0 || line.percent >= lines[at - 1]!.percent, "it never goes back");
  }
}

test("into a file the log is JSON, without escapes; pretty where that is asked for", async () => {
  const json = await intoFiles(migrate());
  assert.equal(json.code, 0, json.err);
  for (const line of json.err.trimEnd().split("\n")) JSON.parse(line);
  const pretty = await intoFiles(migrate("--log-format", "pretty"));
  assert.match(pretty.err, /^\[\d\d:\d\d:\d\dZ\] INFO: /m);
  assert.ok(!pretty.err.includes("\u001b"));
});

test("--progress json tells each stage and the end, on stderr or on a descriptor that was given", async () => {
  const onStderr = await intoFiles(migrate("--progress", "json"));
  assert.equal(onStderr.code, 0, onStderr.err);
  assertTold(progressOf(onStderr.err));
  const onThird = await intoFiles(migrate("--progress", "json:3"), "file");
  assert.equal(onThird.code, 0, onThird.err);
  assertTold(progressOf(onThird.third));
  assert.deepEqual(progressOf(onThird.err), []);
});

test("a reader of progress that reads nothing holds nothing up", async () => {
  const run = await intoFiles(migrate("--progress", "json:3"), "pipe");
  assert.equal(run.code, 0, run.err);
});

test("a descriptor that was not given, or is for reading, is refused before anything is done", async () => {
  lab.vcenter.log.clear();
  for (const fd of [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 20, 999]) {
    const args = migrate("--progress", `json:${fd}`);
    const run = await startCli({ args }).result;
    assertFailure(run, 2, new RegExp(`--progress json:${fd}: `), /Open it for the command/);
  }
  const reading = await startCli({ args: migrate("--progress", "json:0") }).result;
  assertFailure(reading, 2, /0 is not open for writing/, /Open it/);
  assert.deepEqual(lab.vcenter.log.calls, []);
  assertFailure(
    await startCli({ args: migrate("--progress", "bars") }).result,
    2,
    /auto, lines, json/,
    /./,
  );
});

test("-q leaves warnings alone, -v logs every step, both together are refused", async () => {
  const quiet = await intoFiles(migrate("-q", "--json"));
  assert.equal(quiet.code, 0, quiet.err);
  assert.equal(quiet.err, "");
  assert.equal((JSON.parse(quiet.out) as { status: string }).status, "completed");
  const terminal = await shown(migrate("-q"), 100);
  // How it ended is neither log nor progress: the closing lines alone are left.
  assert.match(withoutEscapes(terminal).trim(), /^\S+web01: full sync of 2 disks completed in /);
  const verbose = await intoFiles(migrate("-v"));
  assert.match(verbose.err, /"level":20,/);
  assert.doesNotMatch((await intoFiles(migrate())).err, /"level":20,/);
  assertFailure(
    await startCli({ args: migrate("-q", "-v") }).result,
    2,
    /--quiet and --verbose/,
    /./,
  );
});
