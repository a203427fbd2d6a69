/** Changed areas: every page of them, against bytes that were compared independently, and through every lie. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, describe, test } from "node:test";
import { MigratekitError } from "../../src/errors.ts";
import type { FaultRequest } from "../lab/vcenter/fault-board.ts";
import { makeCertificates } from "./certificates.ts";
import { type LabClient, startLabClient } from "./lab-client.ts";
import { type Reply, startScripted } from "./scripted-endpoint.ts";

const made = makeCertificates();
after(() => made[Symbol.dispose]());
const mebibyte = 1_048_576;
const blockBytes = 65_536;

function pairs(pages: readonly Float64Array[]): [number, number][] {
  return pages.flatMap((page) =>
    Array.from({ length: page.length / 2 }, (_, at): [number, number] => [
      page[2 * at] ?? -1,
      page[2 * at + 1] ?? -1,
    ]),
  );
}

function assertOrderly(extents: readonly [number, number][], capacityBytes: number): void {
  let end = 0;
  for (const [offset, length] of extents) {
    assert.ok(offset >= end && length > 0, `extent ${offset}+${length} after ${end}`);
    end = offset + length;
  }
  assert.ok(end <= capacityBytes, `${end} is beyond ${capacityBytes}`);
}

describe("in the lab", { concurrency: 6 }, () => {
  const capacityBytes = 12 * mebibyte - 7 * 512;
  const vms = [
    {
      name: "vm",
      changeTracking: true,
      disks: [{ capacityBytes, fill: { seed: 5, dataRatio: 0.5 } }],
    },
  ];

  async function twoSnapshots(started: LabClient) {
    const vm = started.lab.vm("vm");
    const take = async (name: string) => {
      const spec = { name, description: "", quiesce: false };
      const { moref } = await started.client.createSnapshot(vm.moref, spec);
      const [disk] = await started.client.readSnapshotDisks(moref);
      return { moref, changeId: disk?.changeId ?? "", image: vm.frozenImage(moref, 2000) };
    };
    const first = await take("first");
    await vm.randomWrites(2000, { seed: 9, writes: 25, maximumBytes: 200_000 });
    const second = await take("second");
    const query = {
      vmMoref: vm.moref,
      snapshotMoref: second.moref,
      deviceKey: 2000,
      changeId: first.changeId,
      capacityBytes,
    };
    started.lab.log.clear();
    return { vm, first, second, query };
  }

  test("the pages hold every block that differs and none besides, and nobody asks at the capacity", async () => {
    await using started = await startLabClient({ vms, areasPerPage: 3 });
    const { first, second, query } = await twoSnapshots(started);
    const pages = await Array.fromAsync(started.client.changedAreas(query));
    const extents = pairs(pages);
    assert.ok(pages.length > 3, `${pages.length} pages`);
    assertOrderly(extents, capacityBytes);
    const [before, later] = await Promise.all([readFile(first.image), readFile(second.image)]);
    for (let block = 0; block < capacityBytes; block += blockBytes) {
      const end = Math.min(block + blockBytes, capacityBytes);
      if (before.subarray(block, end).equals(later.subarray(block, end))) continue;
      const covered = extents.some(([offset, length]) => offset <= block && offset + length >= end);
      assert.ok(covered, `block at ${block} differs and is not listed`);
    }
    const starts = started.lab.log.calls
      .filter(({ method }) => method === "QueryChangedDiskAreas")
      .map(({ parameters }) =>
        Number((parameters as { startOffset: string | number }).startOffset),
      );
    assert.equal(starts.length, pages.length);
    for (const start of starts) assert.ok(start < capacityBytes);
  });

  test("* lists what was ever allocated", async () => {
    await using started = await startLabClient({ vms, areasPerPage: 2 });
    const { second, query } = await twoSnapshots(started);
    const extents = pairs(
      await Array.fromAsync(started.client.changedAreas({ ...query, changeId: "*" })),
    );
    assertOrderly(extents, capacityBytes);
    const image = await readFile(second.image);
    const outside = image; // what is left after the areas are blanked
    for (const [offset, length] of extents) outside.fill(0, offset, offset + length);
    assert.ok(
      outside.every((byte) => byte === 0),
      "there is data outside of the areas",
    );
  });

  test("an unchanged disk has one page without areas", async () => {
    await using started = await startLabClient({ vms });
    const { query, second } = await twoSnapshots(started);
    const same = { ...query, changeId: second.changeId };
    assert.deepEqual(await Array.fromAsync(started.client.changedAreas(same)), [
      new Float64Array(),
    ]);
  });

  test("an empty page is not the end", async () => {
    await using started = await startLabClient({ vms, areasPerPage: 3 });
    const { query } = await twoSnapshots(started);
    const expected = pairs(await Array.fromAsync(started.client.changedAreas(query)));
    started.lab.faults.add({ name: "emptyPage", count: 1 });
    const pages = await Array.fromAsync(started.client.changedAreas(query));
    assert.equal(pages[0]?.length, 0);
    assert.deepEqual(pairs(pages), expected);
  });

  test("a session that expires between two pages costs nothing", async () => {
    await using started = await startLabClient({ vms, areasPerPage: 3 });
    const { query } = await twoSnapshots(started);
    const expected = pairs(await Array.fromAsync(started.client.changedAreas(query)));
    started.lab.faults.add({ name: "notAuthenticatedAfter", value: 2, count: 1 });
    assert.deepEqual(pairs(await Array.fromAsync(started.client.changedAreas(query))), expected);
  });

  const unknowable: [string, FaultRequest | undefined, string, string][] = [
    ["a FileFault", { name: "fileFault" }, "", "FileFault"],
    ["* refused", { name: "starRefused" }, "*", "FileFault"],
    ["a page of length 0", { name: "lengthZeroPage" }, "", "NoProgress"],
    [
      "a change ID of another history",
      undefined,
      "52 00 00 00 00 00 00 00-00 00 00 00 00 00 00 00/1",
      "FileFault",
    ],
    ["a change ID that is none", undefined, "nonsense", "InvalidArgument"],
  ];
  for (const [title, fault, changeId, name] of unknowable)
    test(`${title} says that the changes are unknown`, async () => {
      await using started = await startLabClient({ vms });
      const { query } = await twoSnapshots(started);
      if (fault) started.lab.faults.add(fault);
      const asked = { ...query, changeId: changeId || query.changeId };
      await assert.rejects(Array.fromAsync(started.client.changedAreas(asked)), (error) => {
        assert.ok(error instanceof MigratekitError);
        assert.equal(error.code, "changed-areas-unavailable");
        assert.deepEqual(error.context, { fault: name, deviceKey: 2000, changeId: asked.changeId });
        return true;
      });
    });

  test("a gap between two pages is refused", async () => {
    await using started = await startLabClient({ vms, areasPerPage: 3 });
    const { query } = await twoSnapshots(started);
    started.lab.faults.add({ name: "pageGap", skip: 1, count: 1 });
    await assert.rejects(Array.fromAsync(started.client.changedAreas(query)), {
      code: "vsphere-protocol",
    });
  });

  test("a vanished snapshot and a missing privilege stay what they are", async () => {
    await using started = await startLabClient({ vms });
    const { query } = await twoSnapshots(started);
    const gone = started.client.changedAreas({ ...query, snapshotMoref: "snapshot-9" });
    await assert.rejects(Array.fromAsync(gone), { code: "vsphere-fault" });
    await using reader = await started.connect({ username: "readonly@vsphere.local" });
    await assert.rejects(Array.fromAsync(reader.changedAreas(query)), {
      code: "vsphere-permission",
    });
  });
});

describe("from an endpoint that answers", { concurrency: 6 }, () => {
  const capacityBytes = 10_000_000;
  const query = {
    vmMoref: "vm-1",
    snapshotMoref: "snapshot-1",
    deviceKey: 2000,
    changeId: "x/1",
    capacityBytes,
  };

  /** `[startOffset, length, [area start, area length] …]` as an answer. */
  function page(
    start: number | string,
    length: number | string,
    ...areas: [number | string, number | string][]
  ): string {
    const changed = areas.map(
      ([at, bytes]) => `<changedArea><start>${at}</start><length>${bytes}</length></changedArea>`,
    );
    return `<returnval><startOffset>${start}</startOffset><length>${length}</length>${changed.join("")}</returnval>`;
  }

  async function ask(...answers: string[]) {
    await using endpoint = await startScripted(
      made.selfSigned,
      ({ operation }): Reply | undefined =>
        operation === "QueryChangedDiskAreas"
          ? (answers.shift() ?? { fault: "InvalidArgument" })
          : undefined,
    );
    await using client = await endpoint.connect();
    return pairs(await Array.fromAsync(client.changedAreas(query)));
  }

  const accepted: [string, string[], [number, number][]][] = [
    [
      "in disorder and twice",
      [page(0, capacityBytes, [500, 100], [0, 50], [550, 100], [50, 50])],
      [
        [0, 100],
        [500, 150],
      ],
    ],
    ["with empty areas", [page(0, capacityBytes, [5, 0], [10, 1])], [[10, 1]]],
    [
      "beyond the capacity",
      [page(0, 2 * capacityBytes, [capacityBytes - 10, 500], [capacityBytes + 5, 5])],
      [[capacityBytes - 10, 10]],
    ],
    [
      "areas that reach into the next page",
      [page(0, 1000, [900, 300], [1100, 50]), page(1000, capacityBytes, [1150, 100])],
      [
        [900, 100],
        [1000, 250],
      ],
    ],
    [
      "an area that only the page before the right one lists",
      [page(0, 1000, [5_000_000, 10]), page(1000, capacityBytes)],
      [[5_000_000, 10]],
    ],
    [
      "pages that begin earlier than asked",
      [page(0, 1000, [0, 10]), page(500, capacityBytes, [2000, 10])],
      [
        [0, 10],
        [2000, 10],
      ],
    ],
    ["nothing at all", [page(0, capacityBytes)], []],
  ];
  for (const [title, answers, expected] of accepted)
    test(`${title}, the areas come out sorted, disjoint and inside the disk`, async () => {
      const extents = await ask(...answers);
      assertOrderly(extents, capacityBytes);
      assert.deepEqual(extents, expected);
    });

  const refused: [string, string[]][] = [
    ["a page that starts later than asked", [page(512, capacityBytes)]],
    ["an area before the page", [page(0, 1000), page(1000, capacityBytes, [10, 10])]],
    ["an area of negative length", [page(0, capacityBytes, [10, -10])]],
    ["a negative length", [page(0, -512)]],
    ["a fraction", [page(0, capacityBytes, [0.5, 10])]],
    ["hexadecimal digits", [page(0, "0x989680")]],
    ["a number beyond 2^53", [page(0, capacityBytes, ["9007199254740993", 10])]],
    ["no length", ["<returnval><startOffset>0</startOffset></returnval>"]],
    [
      "two lengths",
      ["<returnval><startOffset>0</startOffset><length>1</length><length>2</length></returnval>"],
    ],
    ["nothing", [""]],
    [
      "a word for an area",
      [
        "<returnval><startOffset>0</startOffset><length>10000000</length><changedArea>all</changedArea></returnval>",
      ],
    ],
  ];
  for (const [title, answers] of refused)
    test(`${title} is refused`, async () => {
      await assert.rejects(ask(...answers), { code: "vsphere-protocol" });
    });

  test("pages of one byte are refused before long", async () => {
    let at = 0;
    await using endpoint = await startScripted(made.selfSigned, ({ operation }) =>
      operation === "QueryChangedDiskAreas" ? page(at++, 1) : undefined,
    );
    await using client = await endpoint.connect();
    await assert.rejects(Array.fromAsync(client.changedAreas(query)), { code: "vsphere-protocol" });
    assert.ok(at < 2_000, `${at} pages`);
  });
});
