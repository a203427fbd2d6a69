import assert from "node:assert/strict";
import { test } from "node:test";
import { type KnownDisk, planDisk, sameHistory } from "../../../src/migration/cycle/decision.ts";

const history = "52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63";
const other = "52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 64";
const target = { uri: "nbd://127.0.0.1:10808/vol", sizeBytes: 1 << 30 };
const frozen = { changeId: `${history}/9`, capacityBytes: 1 << 30 };
const record = { changeId: `${history}/4`, capacityBytes: 1 << 30, target };
const synced: KnownDisk = { storedChangeId: `${history}/4`, record };
const journal = {
  mode: "full" as const,
  baseChangeId: `${history}/6`,
  capacityBytes: 1 << 30,
  target,
};

test("a disk that was synced is copied incrementally since its own change ID", () => {
  const plan = planDisk(frozen, target, synced, { full: false });
  assert.equal(plan.type, "incremental");
  assert.equal(plan.type === "incremental" && plan.since, `${history}/4`);
  assert.equal(plan.type === "incremental" && plan.guard, "samples");
});

const fullCases: [string, Parameters<typeof planDisk>, RegExp][] = [
  ["--full was given", [frozen, target, synced, { full: true }], /--full/],
  ["nothing is stored", [frozen, target, {}, { full: false }], /no change ID/],
  [
    "the snapshot has no change ID",
    [{ capacityBytes: 1 << 30 }, target, synced, { full: false }],
    /no changed block tracking/,
  ],
  [
    "the stored change ID is of another history",
    [frozen, target, { ...synced, storedChangeId: `${other}/4` }, { full: false }],
    /another history/,
  ],
  [
    "the capacity changed",
    [{ ...frozen, capacityBytes: 2 << 30 }, target, synced, { full: false }],
    /capacity changed/,
  ],
  [
    "the target is another one",
    [frozen, { ...target, uri: "nbd://127.0.0.1:10808/other" }, synced, { full: false }],
    /the target was/,
  ],
  [
    "the target's size changed",
    [frozen, { ...target, sizeBytes: 5 << 28 }, synced, { full: false }],
    /target's size changed/,
  ],
  [
    "a full copy was begun and its journal is gone",
    [
      frozen,
      target,
      { storedChangeId: `${history}/4`, record: { unfinished: "full", target } },
      { full: false },
    ],
    /did not finish/,
  ],
  [
    "the interrupted full copy was of another history",
    [frozen, target, { journal: { ...journal, baseChangeId: `${other}/6` } }, { full: false }],
    /cannot be resumed/,
  ],
  [
    "the interrupted full copy went to another target",
    [{ ...frozen }, { ...target, uri: "nbd://b/" }, { ...synced, journal }, { full: false }],
    /cannot be resumed/,
  ],
];

for (const [title, args, reason] of fullCases) {
  test(`a full copy is planned when ${title}`, () => {
    const plan = planDisk(...args);
    assert.equal(plan.type, "full");
    assert.match(plan.reason, reason);
  });
}

test("an interrupted full copy is resumed from its own snapshot, whatever older IDs say", () => {
  const plan = planDisk(frozen, target, { ...synced, journal }, { full: false });
  assert.deepEqual(
    { ...plan, reason: undefined },
    { type: "resume", mode: "full", base: `${history}/6`, reason: undefined },
  );
});

test("an interrupted incremental is resumed from both its start and its own snapshot", () => {
  const interrupted: KnownDisk = {
    ...synced,
    record: { ...record, unfinished: "incremental" },
    journal: { ...journal, mode: "incremental" },
  };
  const plan = planDisk(frozen, target, interrupted, { full: false });
  assert.equal(plan.type, "resume");
  assert.equal(plan.type === "resume" && plan.since, `${history}/4`);
  assert.equal(plan.type === "resume" && plan.base, `${history}/6`);
});

test("a change ID that is not of our own last sync asks for the source as the guard", () => {
  for (const known of [
    { storedChangeId: `${history}/4` },
    { storedChangeId: `${history}/4`, record: { ...record, changeId: `${history}/3` } },
  ]) {
    const plan = planDisk(frozen, target, known, { full: false });
    assert.equal(plan.type === "incremental" && plan.guard, "source");
  }
});

test("histories are told apart by the bytes before the slash, and garbage belongs to none", () => {
  assert.ok(sameHistory(`${history}/1`, `${history.toUpperCase()}/22`));
  assert.ok(!sameHistory(`${history}/1`, `${other}/1`));
  assert.ok(!sameHistory("*", "*"));
  assert.ok(!sameHistory("", ""));
});
