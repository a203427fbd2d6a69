import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { test } from "node:test";
import { merge } from "../../src/ranges.ts";
import { StateDatabase } from "../../src/state/database/database.ts";
import { type JournalStart, JournalStore } from "../../src/state/journal.ts";
import { changeId, temporaryDirectory, vm } from "./helpers.ts";

const capacityBytes = 2 ** 43;
const start: JournalStart = {
  mode: "incremental",
  baseChangeId: changeId(2),
  fromChangeId: changeId(1),
  capacityBytes,
  targetUri: "nbd://127.0.0.1/a",
  targetSizeBytes: capacityBytes,
  startedAt: "2025-03-01T12:00:00.000Z",
  runId: "run-1",
};

test("a journal is read back with what was appended, sorted and merged", (t) => {
  const stateDir = temporaryDirectory(t);
  using db = StateDatabase.open(stateDir);
  const journal = new JournalStore(db);
  assert.equal(journal.openJournal(vm, 2000), undefined);
  journal.startJournal(vm, 2000, start, Float64Array.of(8192, 512));
  journal.appendFinished(vm, 2000, Float64Array.of(0, 512, 2 ** 42, 512));
  journal.appendFinished(vm, 2000, Float64Array.of(512, 512));
  journal.appendFinished(vm, 2000, new Float64Array());
  using reader = StateDatabase.open(stateDir);
  assert.deepEqual(new JournalStore(reader).openJournal(vm, 2000), {
    ...start,
    finished: Float64Array.of(0, 1024, 8192, 512, 2 ** 42, 512),
  });
});

test("starting again replaces all of the old journal", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const journal = new JournalStore(db);
  journal.startJournal(vm, 2000, start, Float64Array.of(0, 4096));
  const again = { ...start, mode: "full", baseChangeId: changeId(3), runId: "run-2" } as const;
  journal.startJournal(vm, 2000, again, Float64Array.of(512, 512));
  const found = journal.openJournal(vm, 2000);
  assert.deepEqual(found, { ...again, finished: Float64Array.of(512, 512) });
});

test("a start that fails leaves the old journal", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const journal = new JournalStore(db);
  journal.startJournal(vm, 2000, start, Float64Array.of(0, 4096));
  const broken = { ...start, runId: "run-2", capacityBytes: Number.NaN };
  assert.throws(() => journal.startJournal(vm, 2000, broken));
  assert.equal(journal.openJournal(vm, 2000)?.runId, "run-1");
  assert.deepEqual(journal.openJournal(vm, 2000)?.finished, Float64Array.of(0, 4096));
});

test("ranges that cannot be are refused and not stored", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const journal = new JournalStore(db);
  assert.throws(() => journal.appendFinished(vm, 2000, Float64Array.of(0, 1)), /no journal/);
  journal.startJournal(vm, 2000, start);
  for (const ranges of [[0], [-512, 512], [0, 0], [0.5, 1], [Number.NaN, 1], [capacityBytes, 1]]) {
    assert.throws(() => journal.appendFinished(vm, 2000, Float64Array.from(ranges)), /journaled/);
  }
  assert.deepEqual(journal.openJournal(vm, 2000)?.finished, new Float64Array());
});

test("a long copy's journal stays small and quick to read", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const journal = new JournalStore(db);
  journal.startJournal(vm, 2000, start);
  for (let i = 0; i < 1000; i++) {
    journal.appendFinished(vm, 2000, Float64Array.of(i * 65536, 65536));
  }
  const rows = db.view("Testing", () => db.get("SELECT count(*) AS n FROM journal_segment"));
  assert.ok(rows && rows.number("n") <= 64);
  assert.ok(statSync(db.path).size < 400_000);
  const found = journal.openJournal(vm, 2000);
  assert.deepEqual(found?.finished, Float64Array.of(0, 1000 * 65536));
});

test("merging random lists covers exactly the same bytes", () => {
  for (let round = 0; round < 300; round++) {
    const covered = new Set<number>();
    const lists = Array.from({ length: 1 + Math.floor(Math.random() * 4) }, () => {
      const pairs = Array.from({ length: Math.floor(Math.random() * 6) }, () => [
        Math.floor(Math.random() * 60),
        1 + Math.floor(Math.random() * 8),
      ]);
      for (const [offset = 0, length = 0] of pairs) {
        for (let byte = offset; byte < offset + length; byte++) covered.add(byte);
      }
      return Float64Array.from(pairs.flat());
    });
    const merged = merge(lists);
    let previousEnd = -1;
    let total = 0;
    for (let i = 0; i < merged.length; i += 2) {
      const [offset = 0, length = 0] = merged.subarray(i, i + 2);
      assert.ok(offset > previousEnd && length > 0, "sorted, disjoint, not touching");
      for (let byte = offset; byte < offset + length; byte++) assert.ok(covered.has(byte));
      previousEnd = offset + length;
      total += length;
    }
    assert.equal(total, covered.size);
  }
});

test("a million scattered ranges are appended and read within a few seconds", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const journal = new JournalStore(db);
  const ranges = Float64Array.from({ length: 2_000_000 }, (_, i) =>
    i % 2 === 0 ? (i / 2) * 131072 : 65536,
  );
  const startMs = performance.now();
  journal.startJournal(vm, 2000, start, ranges);
  assert.equal(journal.openJournal(vm, 2000)?.finished.length, ranges.length);
  t.diagnostic(`${Math.round(performance.now() - startMs)} ms`);
});
