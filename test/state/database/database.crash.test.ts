import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { StateDatabase } from "../../../src/state/database/database.ts";
import { DiskRecords } from "../../../src/state/disk-records.ts";
import { JournalStore } from "../../../src/state/journal.ts";
import {
  blockBytes,
  changeId,
  checkpoints,
  type Fixture,
  startFixture,
  temporaryDirectory,
  vm,
} from "../helpers.ts";

/** How far a disk is: rounds times steps, as fixtures/writer.ts counts them. */
const stepsPerRound = checkpoints + 2;
const position = (round: number, step: number) => round * stepsPerRound + step;

/** Everything the writer said before it died is there, at most its next write as well. */
function checkConsistent(stateDir: string, deviceKey: number, said: string | undefined): void {
  using db = StateDatabase.open(stateDir);
  const record = new DiskRecords(db).readDiskRecord(vm, deviceKey);
  const journal = new JournalStore(db).openJournal(vm, deviceKey);
  const base = journal?.baseChangeId ?? record?.changeId ?? "/0";
  const round = Number(base.slice(base.lastIndexOf("/") + 1));
  let found = round === 0 ? -1 : position(round, checkpoints + 1);
  if (journal !== undefined) {
    const finished = (journal.finished[1] ?? 0) / blockBytes;
    found = position(round, finished);
    assert.equal(journal.finished.length, finished === 0 ? 0 : 2, "one growing range");
    assert.equal(journal.fromChangeId, changeId(round - 1));
    assert.equal(record?.unfinished, "incremental", "the record knows of the journal");
    assert.equal(record?.changeId, changeId(round - 1));
  } else if (record !== undefined) {
    assert.equal(record.unfinished, undefined);
    assert.deepEqual(record.samples, [{ offset: 0, length: 512, digest: `${round}` }]);
  }
  if (said === undefined) return;
  const [saidRound = 0, saidStep = 0] = said.split(" ").map(Number);
  const durable = position(saidRound, saidStep);
  assert.ok(found === durable || found === durable + 1 || isNextRound(found, durable), said);
}

const isNextRound = (found: number, durable: number) =>
  durable % stepsPerRound === checkpoints + 1 && found === durable + 1;

/** Kills the writer once it has said `lines` lines, and a moment of `delayMs` later. */
async function killAfter(writer: Fixture, lines: number, delayMs: number) {
  let said: string | undefined;
  for (let count = 0; count < lines; count++) said = await writer.line();
  await sleep(delayMs);
  writer.process.kill("SIGKILL");
  for (let line = await writer.line(); line !== undefined; line = await writer.line()) said = line;
  assert.equal(await writer.ended(), "SIGKILL");
  return said;
}

async function killTwoWriters(t: TestContext, stateDir: string, lines: number) {
  const keys = [2000, 2001];
  const writers = keys.map((key) => startFixture(t, "writer.ts", stateDir, String(key)));
  const said = await Promise.all(
    writers.map((writer) =>
      killAfter(writer, Math.ceil(Math.random() * lines), Math.random() * 15),
    ),
  );
  for (const [index, key] of keys.entries()) checkConsistent(stateDir, key, said[index]);
}

test("two writers killed at 60 random moments lose nothing that was durable", async (t) => {
  const stateDir = temporaryDirectory(t);
  for (let round = 0; round < 30; round++) await killTwoWriters(t, stateDir, 90);
  // An empty rollback journal may lie there until somebody writes.
  using db = StateDatabase.open(stateDir);
  new DiskRecords(db).importChangeId(vm, 2002, changeId(1));
  assert.deepEqual(readdirSync(stateDir), ["locks", "migratekit.db"], "nothing is left behind");
});

test("a state killed while it is being created is taken over by the next process", async (t) => {
  for (let round = 0; round < 20; round++) {
    const stateDir = temporaryDirectory(t);
    const writer = startFixture(t, "creator.ts", stateDir);
    await writer.line(); // it is about to create
    await sleep(Math.random() * 12);
    writer.process.kill("SIGKILL");
    await writer.ended();
    StateDatabase.open(stateDir).close();
    assert.deepEqual(readdirSync(stateDir), ["locks", "migratekit.db"], "nothing is left behind");
  }
});
