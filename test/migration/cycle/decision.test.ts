import assert from "node:assert/strict";
import { test } from "node:test";
import { type DecisionBasis, decideCopy } from "../../../src/migration/cycle/decision.ts";

const history = "52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63";
const other = "52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 64";
const identity = "nbd://127.0.0.1:10808/vol";
const names = { lasting: [identity, "nbd://10.0.0.5:10808/vol"], passing: [] };
const target = { identity, names, info: { sizeBytes: 1 << 30 } };
const otherName = "nbd://127.0.0.1:10808/other";
const otherNames = { lasting: [otherName], passing: [] };
const elsewhere = { ...target, identity: otherName, names: otherNames };
const left = { targetUri: target.identity, targetSizeBytes: 1 << 30 };
const frozen = { changeId: `${history}/9`, capacityBytes: 1 << 30 };
const record = { changeId: `${history}/4`, capacityBytes: 1 << 30, ...left };
const synced: DecisionBasis = { frozen, target, storedChangeId: `${history}/4`, record };
const journal = {
  mode: "full" as const,
  baseChangeId: `${history}/6`,
  capacityBytes: 1 << 30,
  ...left,
};

test("a disk that was synced is copied incrementally since its own change ID", () => {
  const plan = decideCopy(synced, { full: false });
  assert.equal(plan.type, "incremental");
  assert.equal(plan.type === "incremental" && plan.since, `${history}/4`);
  assert.equal(plan.type === "incremental" && plan.guard, "samples");
});

test("a target that is given under another of its names is the same target", () => {
  const known = { ...record, targetUri: "nbd://10.0.0.5:10808/vol" };
  const plan = decideCopy({ ...synced, record: known }, { full: false });
  assert.equal(plan.type === "incremental" && plan.guard, "samples");
});

const fullCases: [string, Parameters<typeof decideCopy>, RegExp][] = [
  ["--full was given", [synced, { full: true }], /--full/],
  ["nothing is stored", [{ frozen, target }, { full: false }], /no change ID/],
  [
    "the snapshot has no change ID",
    [{ ...synced, frozen: { capacityBytes: 1 << 30 } }, { full: false }],
    /no changed block tracking/,
  ],
  [
    "the stored change ID is of another history",
    [{ ...synced, storedChangeId: `${other}/4` }, { full: false }],
    /another history/,
  ],
  [
    "the capacity changed",
    [{ ...synced, frozen: { ...frozen, capacityBytes: 2 << 30 } }, { full: false }],
    /capacity changed/,
  ],
  [
    "the target is another one",
    [{ ...synced, target: elsewhere }, { full: false }],
    /the target was/,
  ],
  [
    "the target became smaller",
    [{ ...synced, target: { ...target, info: { sizeBytes: 5 } } }, { full: false }],
    /target's size changed/,
  ],
  [
    "a full copy was begun and its journal is gone",
    [{ ...synced, record: { unfinished: "full", ...left } }, { full: false }],
    /did not finish/,
  ],
  [
    "the interrupted full copy was of another history",
    [{ frozen, target, journal: { ...journal, baseChangeId: `${other}/6` } }, { full: false }],
    /cannot be resumed/,
  ],
  [
    "the interrupted full copy went to another target",
    [{ ...synced, target: elsewhere, journal }, { full: false }],
    /cannot be resumed/,
  ],
  [
    "the capacity changed, and the stored change ID is not the record's",
    [
      { ...synced, storedChangeId: `${history}/5`, frozen: { ...frozen, capacityBytes: 2 << 30 } },
      { full: false },
    ],
    /capacity changed/,
  ],
  [
    "the target is another one, and the stored change ID is not the record's",
    [
      {
        ...synced,
        storedChangeId: `${history}/5`,
        target: elsewhere,
      },
      { full: false },
    ],
    /the target was/,
  ],
  [
    "the target became smaller, and the stored change ID is not the record's",
    [
      { ...synced, storedChangeId: `${history}/5`, target: { ...target, info: { sizeBytes: 5 } } },
      { full: false },
    ],
    /target's size changed/,
  ],
  [
    "the disk went back in its history",
    [
      {
        ...synced,
        storedChangeId: `${history}/9`,
        frozen: { ...frozen, changeId: `${history}/5` },
      },
      { full: false },
    ],
    /went back in its history.*ends in 9, the new one in 5/,
  ],
  [
    "the number of the stored change ID was given a second time",
    [{ ...synced, storedChangeId: `${history}/9` }, { full: false }],
    /went back in its history/,
  ],
  [
    "the disk went back behind an interrupted full copy",
    [{ ...synced, frozen: { ...frozen, changeId: `${history}/5` }, journal }, { full: false }],
    /cannot be resumed: the disk went back/,
  ],
  [
    "the disk went back behind an interrupted incremental, but not behind the last sync",
    [
      {
        ...synced,
        frozen: { ...frozen, changeId: `${history}/5` },
        journal: { ...journal, mode: "incremental" },
      },
      { full: false },
    ],
    /cannot be continued: the disk went back/,
  ],
];

for (const [title, args, reason] of fullCases) {
  test(`a full copy is planned when ${title}`, () => {
    const plan = decideCopy(...args);
    assert.equal(plan.type, "full");
    assert.match(plan.reason, reason);
  });
}

test("an interrupted full copy is resumed from its own snapshot, whatever older IDs say", () => {
  const plan = decideCopy({ ...synced, journal }, { full: false });
  assert.deepEqual(
    { ...plan, reason: undefined },
    { type: "resume", mode: "full", base: `${history}/6`, reason: undefined },
  );
});

test("an interrupted incremental is resumed from both its start and its own snapshot", () => {
  const interrupted: DecisionBasis = {
    ...synced,
    record: { ...record, unfinished: "incremental" },
    journal: { ...journal, mode: "incremental" },
  };
  const plan = decideCopy(interrupted, { full: false });
  assert.equal(plan.type, "resume");
  assert.equal(plan.type === "resume" && plan.since, `${history}/4`);
  assert.equal(plan.type === "resume" && plan.base, `${history}/6`);
});

test("a change ID that is not of our own last sync asks for the source as the guard", () => {
  for (const known of [
    { storedChangeId: `${history}/4` },
    { storedChangeId: `${history}/4`, record: { ...record, changeId: `${history}/3` } },
  ]) {
    const plan = decideCopy({ frozen, target, ...known }, { full: false });
    assert.equal(plan.type === "incremental" && plan.guard, "source");
  }
});

test("a history's name is written in either case, and garbage belongs to no history", () => {
  const upper = { ...synced, storedChangeId: `${history.toUpperCase()}/4`, record: undefined };
  assert.equal(decideCopy(upper, { full: false }).type, "incremental");
  for (const storedChangeId of ["*", "", `${history}`, `${history}/x`]) {
    const now = { changeId: storedChangeId, capacityBytes: 1 << 30 };
    const plan = decideCopy({ frozen: now, target, storedChangeId }, { full: false });
    assert.equal(plan.type, "full", storedChangeId);
  }
});

test("a sequence number is compared as a number of any length", () => {
  const long = { ...synced, storedChangeId: `${history}/9007199254740993`, record: undefined };
  const later = { ...frozen, changeId: `${history}/9007199254740994` };
  assert.equal(decideCopy({ ...long, frozen: later }, { full: false }).type, "incremental");
  const earlier = { ...frozen, changeId: `${history}/9007199254740992` };
  assert.equal(decideCopy({ ...long, frozen: earlier }, { full: false }).type, "full");
});

test("a target that only grew is still the one that the last run left", () => {
  const larger = { ...target, info: { sizeBytes: 5 << 28 } };
  const decision = decideCopy({ ...synced, target: larger }, { full: false });
  assert.equal(decision.type === "incremental" && decision.guard, "samples");
  const interrupted = decideCopy({ ...synced, target: larger, journal }, { full: false });
  assert.equal(interrupted.type, "resume");
});
