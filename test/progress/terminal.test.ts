import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import stringWidth from "string-width";
import { createLogger } from "../../src/logger.ts";
import { ProgressTracker } from "../../src/progress/progress.ts";
import { TerminalProgress } from "../../src/progress/terminal.ts";
import { progressLines, type View } from "../../src/progress/terminal-lines.ts";
import { formatBytes, formatBytesOf, formatDuration } from "../../src/text.ts";
import { Screen } from "./screen.ts";

const gib = 2 ** 30;
const view: View = { columns: 80, rows: 24, colour: false, unicode: true };

/** Ten seconds into the transfer: one disk in the middle, one waiting, one done. */
function midway(): ProgressTracker {
  let nowMs = 0;
  const tracker = new ProgressTracker({ now: () => nowMs });
  const disk = { syncType: "incremental", capacityBytes: 40 * gib } as const;
  tracker.addDisk({ ...disk, diskId: "disk-2000", syncType: "full", plannedAreas: undefined });
  tracker.addDisk({ ...disk, diskId: "disk-2001", plannedAreas: Float64Array.of(0, 5 * gib) });
  tracker.addDisk({ ...disk, diskId: "disk-2016", plannedAreas: Float64Array.of(0, gib) });
  tracker.setStage("Transfer");
  tracker.finishDisk("disk-2016");
  for (let i = 0; i < 100; i++) {
    nowMs += 100;
    tracker.onChunks("disk-2000", Float64Array.of((i * gib) / 8, gib / 8, 0));
  }
  return tracker;
}

test("At 40 columns: name, percentage, bytes of planned, remaining time, and the stage on its own line", () => {
  assert.deepEqual(progressLines(midway().snapshot(), { ...view, columns: 40 }), [
    "disk-2000  31% 12.5/40.0 GiB    0:22",
    "disk-2001   0%   0.0/5.0 GiB    -:--",
    "disk-2016 100%   1.0/1.0 GiB",
    "total      29% 13.5/46.0 GiB    0:26",
    "Transfer",
  ]);
});

test("At 80 columns: bar, rate and what is going on as well", () => {
  assert.deepEqual(progressLines(midway().snapshot(), view), [
    "disk-2000 ███░░░░░░░  31% 12.5/40.0 GiB  1.3 GiB/s    ETA 0:22 copying",
    "disk-2001 ░░░░░░░░░░   0%   0.0/5.0 GiB      0 B/s    ETA -:-- waiting",
    "disk-2016 ██████████ 100%   1.0/1.0 GiB                        done",
    "total     ██░░░░░░░░  29% 13.5/46.0 GiB  1.3 GiB/s    ETA 0:26 Transfer",
  ]);
});

test("At 200 columns: a long bar, the kind of sync and room for words", () => {
  const tracker = midway();
  const note = "retry 2: the connection to the target was lost (ECONNRESET)";
  tracker.setDiskNote("disk-2000", note);
  const [first, , , total] = progressLines(tracker.snapshot(), { ...view, columns: 200 });
  assert.equal(
    first,
    `disk-2000 full ${"█".repeat(12)}${"░".repeat(28)}  31% 12.5/40.0 GiB  1.3 GiB/s    ETA 0:22 ${note}`,
  );
  assert.match(total!, /^total {10}█{11}░{29} /);
});

test("No line reaches the edge of the terminal at any width, whatever the names and notes are made of", () => {
  const tracker = midway();
  tracker.setDiskNote(
    "disk-2001",
    "再試行 2: 接続が失われました — 👩‍👩‍👧 é \u001b[31mred\u001b[0m\nline",
  );
  for (const detail of [undefined, "スナップショットを作成しています 45 %", "x".repeat(300)]) {
    tracker.setStage("Transfer", detail);
    for (const colour of [false, true]) {
      for (let columns = 2; columns <= 220; columns++) {
        for (const line of progressLines(tracker.snapshot(), { ...view, columns, colour })) {
          assert.ok(stringWidth(line) < columns, `${stringWidth(line)} at ${columns}: ${line}`);
          assert.ok(!line.includes("\n") && (colour || !line.includes("\u001b")));
        }
      }
    }
  }
});

test("Without colour there is no escape sequence, and without Unicode nothing but ASCII", () => {
  const lines = progressLines(midway().snapshot(), { ...view, unicode: false });
  for (const line of lines) assert.match(line, /^[\x20-\x7e]+$/);
  const coloured = progressLines(midway().snapshot(), { ...view, colour: true }).join("");
  assert.ok(coloured.includes("\u001b[36m"));
});

test("More disks than rows: those at work are shown and the rest counted", () => {
  const tracker = new ProgressTracker({ now: () => 1000 });
  const plan = { syncType: "full", plannedAreas: undefined, capacityBytes: gib } as const;
  for (let key = 2000; key < 2060; key++) tracker.addDisk({ ...plan, diskId: `disk-${key}` });
  for (let key = 2000; key < 2010; key++) tracker.finishDisk(`disk-${key}`);
  tracker.onChunks("disk-2050", Float64Array.of(0, gib / 2, 0));
  const lines = progressLines(tracker.snapshot(), { ...view, rows: 10 });
  assert.equal(lines.length, 9);
  assert.ok(lines.some((line) => line.startsWith("disk-2050")));
  assert.equal(lines.at(-2), "+ 53 more, 10 done");
  assert.ok(lines.at(-1)!.startsWith("total"));
});

test("Log lines stand above the bars, each once, and the last frame stays", () => {
  const screen = new Screen(80);
  const tracker = midway();
  const terminal = new TerminalProgress({ stream: screen, colour: true });
  const logger = createLogger({
    level: "info",
    pretty: true,
    destination: terminal.logDestination,
  });
  logger.info("before");
  terminal.start(() => tracker.snapshot());
  logger.info("one");
  tracker.setStage("Finalize");
  terminal.writeAbove("two\nthree, longer than any bar was: ".padEnd(70, "x"));
  assert.ok(screen.lines().at(-1)!.endsWith("Finalize"));
  tracker.setStage("Complete");
  terminal.stop();
  terminal.stop();
  logger.info("after");
  const lines = screen.lines().map((line) => line.replace(/^\[[\d:]+Z\] INFO: /, ""));
  assert.equal(lines[0], "before");
  assert.equal(lines[1], "one");
  assert.equal(lines[2], "two");
  assert.ok(lines[3]!.startsWith("three"));
  assert.deepEqual(
    lines.slice(4).map((line) => line.split(" ")[0]),
    ["disk-2000", "disk-2001", "disk-2016", "total", "after"],
  );
  assert.ok(lines.at(-2)!.endsWith("Complete"));
});

test("A frame is one write that leaves the cursor visible, and an unchanged one is not written", () => {
  const screen = new Screen(80);
  const tracker = midway();
  const terminal = new TerminalProgress({ stream: screen, colour: false, frameMs: 1 });
  terminal.start(() => tracker.snapshot());
  const first = screen.writes.length;
  terminal.stop();
  assert.equal(first, 1);
  assert.equal(screen.writes.length, 1);
  for (const write of screen.writes) {
    assert.ok(write.indexOf("\u001b[?25l") < write.indexOf("\u001b[?25h"));
    assert.ok(!write.includes("\u001b[2J"), "the screen is never cleared");
  }
  assert.ok(screen.cursorVisible);
});

test("After the terminal was made narrower, the frame is drawn over the rows that the old one wrapped to", () => {
  const writes: string[] = [];
  const stream = { columns: 120, rows: 24, write: (text: string) => void writes.push(text) };
  const tracker = midway();
  const terminal = new TerminalProgress({ stream, colour: false, frameMs: 60_000 });
  terminal.start(() => tracker.snapshot());
  stream.columns = 60;
  terminal.writeAbove("a log line\n");
  stream.columns = 100;
  terminal.stop();
  // Four lines of more than 60 columns took eight rows; five lines of less than 60 take five.
  assert.ok(writes[1]!.includes("\u001b[8A"), JSON.stringify(writes[1]));
  assert.ok(writes[2]!.includes("\u001b[5A"), JSON.stringify(writes[2]));
});

test("On a real pseudo-terminal the view has its width, and a killed run leaves the cursor visible", () => {
  const fixture = fileURLToPath(new URL("./fixtures/live-view.ts", import.meta.url));
  const command = `stty cols 60 rows 20; exec '${process.execPath}' '${fixture}'`;
  const run = spawnSync("script", ["-qec", command, "/dev/null"], { encoding: "utf8", input: "" });
  assert.equal(run.status, 128 + 9, run.stderr);
  const output = run.stdout;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: taking out what a terminal obeys
  const lines = output.replace(/\u001b\[[?\d]*[A-Za-z]|\r/g, "").split("\n");
  const bars = lines.filter((line) => line.startsWith("disk-2000"));
  assert.ok(bars.length > 0, output);
  for (const bar of bars) assert.ok(stringWidth(bar) < 60);
  assert.ok(bars.some((bar) => bar.includes("50%")));
  assert.ok(lines.includes("a log line"));
  assert.ok(output.lastIndexOf("\u001b[?25h") > output.lastIndexOf("\u001b[?25l"));
});

test("Amounts are short, and bytes done are never rounded up to what they are not", () => {
  assert.deepEqual([0, 999, 1000, 1024, 1536, 10 * gib, 999 * gib, 1000 * gib].map(formatBytes), [
    "0 B",
    "999 B",
    "1.0 KiB",
    "1.0 KiB",
    "1.5 KiB",
    "10.0 GiB",
    "999 GiB",
    "1.0 TiB",
  ]);
  assert.equal(formatBytesOf(26.99 * gib, 27 * gib), "26.9/27.0 GiB");
  assert.equal(formatBytesOf(27 * gib, 27 * gib), "27.0/27.0 GiB");
  assert.deepEqual([0, 59.6, 725, 11220, 187_200].map(formatDuration), [
    "0:00",
    "1:00",
    "12:05",
    "3:07:00",
    "2d 4h",
  ]);
});

test("A view that cannot be drawn is given up; log lines still come, and nothing is thrown", () => {
  let written = "";
  const stream = { columns: 80, rows: 24, write: (text: string) => (written += text) };
  using live = new TerminalProgress({ stream, colour: false, frameMs: 1_000_000 });
  live.start(() => {
    throw new Error("no progress");
  });
  live.writeAbove("a line of the log\n");
  live.stop();
  assert.equal(written, "a line of the log\n");
});

test("What does not fit beside the total has a line of its own, at any width", () => {
  const tracker = midway();
  const detail = "12 of 20 VMs over, 3 failed";
  tracker.setStage("Transfer", detail);
  for (const columns of [60, 80, 100, 120, 200]) {
    const lines = progressLines(tracker.snapshot(), { ...view, columns });
    assert.ok(
      lines.some((line) => line.includes(`Transfer: ${detail}`)),
      `${columns} columns`,
    );
    for (const line of lines) assert.ok(stringWidth(line) < columns, line);
  }
  const [, , , total, extra] = progressLines(tracker.snapshot(), view);
  assert.match(total!, /^total .* ETA 0:26$/);
  assert.equal(extra, `Transfer: ${detail}`);
});
