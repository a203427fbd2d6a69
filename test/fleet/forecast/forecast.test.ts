import assert from "node:assert/strict";
import { test } from "node:test";
import { parseWindows } from "../../../src/fleet/timing/windows.ts";
import { Random } from "../../random.ts";
import { crewOf, forecastOf, type Given, type hourly, hourMs, minuteMs, minutes } from "./plans.ts";

const some = (count: number, given: (at: number) => Given = () => ({})) =>
  Object.fromEntries(Array.from({ length: count }, (_, at) => [`vm${at}`, given(at)]));
const onHost = (host: string): Given => ({ known: { host } });

test("a VM is in sync once it is copied and its sync is closed", () => {
  const { of, waves, trouble, assumed } = forecastOf({
    a: { known: { host: "h", datastores: ["d"] } },
  });
  assert.equal(minutes(of("a").course.inSyncAt), 61);
  assert.deepEqual(trouble, []);
  assert.deepEqual(assumed, []);
  const [{ boundBy, boundAt, firstBytes, vmCount }] = waves as [(typeof waves)[number]];
  assert.deepEqual([boundBy, boundAt, firstBytes, vmCount], ["copy", "a", 3_600_000, 1]);
});

test("no more runs go than the appliances do, and that is what bounds the wave", () => {
  const { vms, waves } = forecastOf(some(6), crewOf(2));
  const times = vms.map(({ course }) => minutes(course.inSyncAt));
  assert.deepEqual(times, [61, 61, 122, 122, 183, 183]);
  assert.equal(waves[0]!.boundBy, "appliance");
});

test("a host's connections are never exceeded, and the host is named", () => {
  const wide = { "source-connections": "8", "parallel-disks": "1" };
  const vms = some(8, (at) => ({
    vm: { settings: wide },
    known: { host: at < 7 ? "esx1" : "esx2" },
  }));
  const { vms: found, waves, of } = forecastOf(vms);
  assert.deepEqual(
    found.map(({ job }) => job.units),
    [8, 8, 8, 8, 8, 8, 8, 8],
  );
  const times = found.slice(0, 7).map(({ course }) => minutes(course.inSyncAt));
  assert.deepEqual(times, [61, 61, 61, 122, 122, 122, 183]);
  assert.equal(minutes(of("vm7").course.inSyncAt), 61);
  assert.deepEqual([waves[0]!.boundBy, waves[0]!.boundAt], ["host", "esx1"]);
});

test("a VM of many connections is not overtaken for ever by small ones behind it", () => {
  const of = (units: string, host = "h"): Given => ({
    vm: { settings: { "source-connections": units, "parallel-disks": "1" } },
    known: { host },
  });
  const { of: found } = forecastOf(
    { a: of("8"), large: of("8"), b: of("2"), c: of("2") },
    crewOf(100),
    {
      hostConnections: 8,
    },
  );
  assert.deepEqual(
    ["a", "large", "b", "c"].map((name) => minutes(found(name).course.inSyncAt)),
    [61, 122, 183, 183],
  );
});

test("higher priorities go first, then the plan's order", () => {
  const { of } = forecastOf(
    { a: {}, b: { vm: { priority: 5 } }, c: { vm: { priority: -1 } }, d: {} },
    crewOf(1),
  );
  assert.deepEqual(
    ["b", "a", "d", "c"].map((name) => minutes(of(name).course.inSyncAt)),
    [61, 122, 183, 244],
  );
});

for (const [limit, place] of [
  ["datastoreRuns", "datastore"],
  ["targetRuns", "target"],
] as const) {
  test(`a full ${place} lets those by who do not need it`, () => {
    const at = (server: string): Given => ({
      vm: { settings: { "nbd-host": server } },
      known: { host: "h", datastores: [`ds-${server}`] },
    });
    const { of, waves } = forecastOf({ a: at("one"), b: at("one"), c: at("two") }, crewOf(100), {
      [limit]: 1,
    });
    assert.deepEqual(
      ["a", "b", "c"].map((name) => minutes(of(name).course.inSyncAt)),
      [61, 122, 61],
    );
    const full = forecastOf(
      some(9, () => at("one")),
      crewOf(100),
      { [limit]: 1 },
    ).waves[0]!;
    assert.deepEqual(
      [full.boundBy, full.boundAt],
      [place, place === "target" ? "one:10808" : "ds-one"],
    );
    assert.notEqual(waves[0]!.boundBy, "host");
  });
}

test("a link that carries less slows all alike, and more appliances would not help", () => {
  const { vms, waves } = forecastOf(some(4), crewOf(100, 2000));
  for (const { course } of vms) assert.equal(minutes(course.inSyncAt), 121);
  assert.equal(waves[0]!.boundBy, "link");
  const queued = forecastOf(some(40), crewOf(10, 2000));
  assert.equal(queued.waves[0]!.boundBy, "link");
  assert.equal(minutes(queued.waves[0]!.inSyncAt), 40 * 30 + 4);
});

test("who begins later takes from the link what the others do not need any more", () => {
  // 1000 a second for each of the two; then one of them has a third more to bring, alone.
  const { of } = forecastOf(
    { a: {}, b: { known: { fullBytes: 2 * 3_600_000 } } },
    crewOf(100, 1500),
  );
  assert.equal(minutes(of("a").course.inSyncAt), 81);
  assert.equal(minutes(of("b").course.inSyncAt), 141);
});

test("syncs begin in their windows, and what has begun goes on past the end", () => {
  // 12:00 is before it opens.
  const vm = { syncWindows: parseWindows(["14:00-15:30"], "UTC") };
  const { vms, waves } = forecastOf(
    some(3, () => ({ vm })),
    crewOf(1),
  );
  assert.deepEqual(
    vms.map(({ course }) => minutes(course.inSyncAt)),
    [120 + 61, 120 + 61 + 61, 24 * 60 + 120 + 61],
  );
  assert.equal(waves[0]!.boundBy, "window");
});

test("a cron line's VM is first copied at its first minute", () => {
  const schedule = { kind: "cron", line: "30 22 * * *", timeZone: "Europe/Rome" } as const;
  const { of, waves } = forecastOf({ a: { vm: { schedule } } });
  assert.equal(minutes(of("a").course.inSyncAt), 9 * 60 + 30 + 61);
  assert.equal(waves[0]!.boundBy, "schedule");
});

test("a rate by the time of day holds for the copy as the day goes on", () => {
  // In local time, which the worker's is.
  const noon = new Date(Date.parse("2026-12-01T12:00:00Z"));
  const half = new Date(noon.getTime() + 30 * minuteMs);
  const time = (date: Date) => date.toTimeString().slice(0, 5);
  const settings = { "max-rate": `${time(noon)},4K ${time(half)},off` };
  const known = { bytesPerSecond: 8192, fullBytes: 8192 * 3600 };
  const { of } = forecastOf({ a: { vm: { settings }, known } });
  assert.equal(minutes(of("a").course.inSyncAt), 30 + 45 + 1);
});

test("a cutover is taken to be asked for when its wave is in sync, and begins in its window", () => {
  const cutoverWindows = parseWindows(["Wed 02:00-02:30"], "UTC");
  const { of, waves } = forecastOf({
    a: { vm: { cutoverWindows } },
    b: { vm: { wave: "2" } },
    late: { vm: { wave: "2" }, known: { fullBytes: 2 * 3_600_000 } },
  });
  const { cutover } = of("a").course;
  assert.deepEqual([cutover!.beginsAt, cutover!.endsAt, cutover!.closesAt].map(minutes), [
    14 * 60,
    14 * 60 + 11,
    14 * 60 + 30,
  ]);
  assert.equal(of("a").fits, true);
  // Without a window at once; of the same wave, once all of it is in sync.
  assert.equal(minutes(of("b").course.cutover!.beginsAt), 121);
  assert.deepEqual(
    waves.map(({ name, cutovers }) => [name, cutovers.count, cutovers.fit]),
    [
      ["1", 1, 1],
      ["2", 2, 2],
    ],
  );
});

test("VMs are cut over after those that they name, whatever wave these are of", () => {
  const { of } = forecastOf({
    web: { vm: { after: ["app"] } },
    app: { vm: { after: ["db", "cache"] } },
    cache: {},
    db: { vm: { wave: "2" }, known: { fullBytes: 3 * 3_600_000 } },
    gone: { known: { isCutOver: true } },
    last: { vm: { after: ["gone"] } },
  });
  const begins = (name: string) => minutes(of(name).course.cutover?.beginsAt);
  assert.deepEqual(["cache", "last", "db", "app", "web"].map(begins), [61, 61, 181, 192, 203]);
  assert.equal(of("gone").course.cutover, undefined);
  assert.equal(of("gone").course.inSyncAt, undefined);
});

test("a cutover that is longer than its window, or begins too late in it, is trouble", () => {
  const cutoverWindows = parseWindows(["Wed 02:00-02:20"], "UTC");
  const short = forecastOf({ a: { vm: { cutoverWindows }, known: { downtimeMs: hourMs } } });
  assert.deepEqual(short.trouble, [
    { kind: "window-too-short", vms: ["a"], cutoverMs: 61 * minuteMs, windowMs: 20 * minuteMs },
  ]);
  assert.equal(short.of("a").fits, false);
  const queue = forecastOf(
    some(3, () => ({ vm: { cutoverWindows } })),
    crewOf(1),
  );
  assert.deepEqual(queue.trouble, [{ kind: "window-begun-late", vms: ["vm1"] }]);
  // The window was closed by then: in the next week's.
  assert.equal(minutes(queue.of("vm2").course.cutover!.beginsAt), 14 * 60 + 7 * 24 * 60);
});

test("a cutover brings what has changed since the last sync, by the schedule or ever since", () => {
  const known = { changedBytesPerHour: 360_000, downtimeMs: 0, syncMs: 0 };
  const cutoverWindows = parseWindows(["Wed 12:00-13:00"], "UTC");
  const took = (vm: NonNullable<Given["vm"]>) => {
    const { beginsAt, endsAt } = forecastOf({ a: { vm: { cutoverWindows, ...vm }, known } }).of("a")
      .course.cutover!;
    return Math.round((endsAt - beginsAt) / minuteMs);
  };
  // 360 s of copying for each hour of changes.
  assert.equal(took({ schedule: { kind: "every", everyMs: hourMs } }), 6);
  assert.equal(took({ schedule: { kind: "cron", line: "0 */5 * * *", timeZone: "UTC" } }), 30);
  assert.equal(took({}), 60, "a day of it is more than the whole VM, which is the most");
  const night = parseWindows(["00:00-02:00"], "UTC");
  const nightly = { schedule: { kind: "every", everyMs: hourMs }, syncWindows: night } as const;
  assert.equal(took(nightly), 60);
});

test("VMs that are in sync already wait for nothing but their window", () => {
  const { waves, of } = forecastOf({
    a: { known: { syncedAt: 1 } },
    b: { known: { isCutOver: true } },
  });
  assert.deepEqual(
    [minutes(waves[0]!.inSyncAt), waves[0]!.firstBytes, waves[0]!.boundBy],
    [0, 0, undefined],
  );
  assert.equal(waves[0]!.cutovers.count, 1);
  assert.equal(minutes(of("a").course.cutover!.beginsAt), 0);
});

test("schedules that cannot be kept are trouble: of a VM, of a host, of the appliances", () => {
  const every = { kind: "every", everyMs: 2 * minuteMs } as const;
  const long = forecastOf({ a: { vm: { schedule: every }, known: { syncMs: 3 * minuteMs } } });
  assert.deepEqual(long.trouble[0], { kind: "sync-too-long", vms: ["a"] });
  const host = forecastOf(some(60, () => ({ vm: { schedule: every }, ...onHost("esx1") })));
  assert.deepEqual(host.trouble, [{ kind: "host-overbooked", host: "esx1", connections: 30 }]);
  const appliances = forecastOf(
    some(6, () => ({ vm: { schedule: every } })),
    crewOf(2),
  );
  assert.deepEqual(appliances.trouble, [{ kind: "appliances-overbooked", runs: 3 }]);
});

test("what never comes about is said, and does not keep the others", () => {
  const { trouble, waves, of } = forecastOf({
    huge: { known: { fullBytes: 1e15, bytesPerSecond: 1 } },
    small: { vm: { wave: "2" } },
    app: { vm: { wave: "2", after: ["huge"] } },
  });
  assert.deepEqual(trouble, [
    { kind: "never-in-sync", vms: ["huge"] },
    { kind: "never-cut-over", vms: ["app"] },
  ]);
  assert.deepEqual([waves[0]!.inSyncAt, waves[0]!.boundBy], [undefined, undefined]);
  assert.equal(minutes(waves[1]!.inSyncAt), 61);
  assert.equal(of("small").fits, true);
});

test("syncs of VMs of a higher priority leave a host less for first copies", () => {
  const every = { kind: "every", everyMs: 2 * minuteMs } as const;
  const synced = { vm: { schedule: every, priority: 1 }, known: { host: "h", syncedAt: 1 } };
  // Four of them take two of six connections at all times.
  const vms = {
    ...some(4, () => synced),
    ...Object.fromEntries(
      Array.from({ length: 8 }, (_, at) => [`new${at}`, { vm: { wave: "2" }, ...onHost("h") }]),
    ),
  };
  const { of } = forecastOf(vms, crewOf(100), { hostConnections: 6 });
  assert.ok(minutes(of("new3").course.inSyncAt) < 122);
  assert.ok(minutes(of("new4").course.inSyncAt) >= 122);
});

test("what is assumed is said of each VM, and a rate measured of others is nearer than any guess", () => {
  const unknown = {
    fullBytes: undefined,
    bytesPerSecond: undefined,
    changedBytesPerHour: undefined,
    downtimeMs: undefined,
  } as unknown as typeof hourly;
  const alone = forecastOf({ a: { known: unknown } });
  assert.deepEqual(
    alone.assumed.map(({ name }) => name),
    [...["host", "datastores", "size", "rate", "change", "downtime"]],
  );
  assert.equal(alone.of("a").job.bytesPerSecond, 500);
  const among = forecastOf({
    a: { known: unknown },
    b: {},
    c: { known: { bytesPerSecond: 3000 } },
    d: {},
  });
  assert.equal(among.of("a").job.bytesPerSecond, 1000);
  assert.deepEqual(
    among.assumed.map(({ name, vmCount }) => [name, vmCount]),
    [
      ...[
        ["host", 4],
        ["datastores", 4],
        ["size", 1],
        ["rate", 1],
        ["change", 1],
        ["downtime", 1],
      ],
    ],
  );
});

test("whatever the plan, no limit is exceeded by what it says", () => {
  const seed = Number(process.env.MIGRATEKIT_TEST_SEED ?? 7);
  const random = new Random(seed);
  for (let round = 0; round < 30; round++) {
    const count = 1 + random.below(60);
    const vms = some(count, () => ({
      vm: {
        priority: random.below(3),
        settings: { "source-connections": String(1 + random.below(8)) },
        ...(random.chance(0.2) && { syncWindows: parseWindows(["20:00-06:00"], "UTC") }),
      },
      known: {
        host: `h${random.below(3)}`,
        datastores: [`d${random.below(4)}`],
        fullBytes: 1 + random.below(10_000_000),
        bytesPerSecond: 1 + random.below(5000),
      },
    }));
    const limits = { hostConnections: 8 + random.below(16), datastoreRuns: random.below(3) };
    const crew = crewOf(1 + random.below(8), random.chance(0.5) ? 1000 + random.below(9000) : 0);
    const { vms: found } = forecastOf(vms, crew, limits);
    assertKept(found, crew, limits, `seed ${seed}, round ${round}`);
  }
});

/** By the spans of first syncs, which are counted anew here. */
function assertKept(
  vms: ReturnType<typeof forecastOf>["vms"],
  crew: ReturnType<typeof crewOf>,
  limits: { hostConnections: number; datastoreRuns: number },
  title: string,
): void {
  const spans = vms.map(({ job, course }) => {
    const waited = Object.values(course.waited).reduce((sum, ms) => sum + ms, 0);
    const begin = Date.parse("2026-12-01T12:00:00Z") + waited;
    const ms = course.copyMs + course.linkMs + job.syncMs;
    assert.ok(
      Math.abs(begin + ms - course.inSyncAt!) < 1,
      `${title}: ${job.vm.name} is accounted for`,
    );
    return { job, begin, end: course.inSyncAt! };
  });
  for (const { begin } of spans) {
    const now = spans.filter((span) => span.begin <= begin + 0.01 && begin + 0.01 < span.end);
    assert.ok(now.length <= crew.parallelVms, `${title}: ${now.length} runs`);
    for (const [host, own] of Map.groupBy(now, ({ job }) => job.host)) {
      const used = own.reduce((sum, { job }) => sum + job.units, 0);
      assert.ok(used <= limits.hostConnections, `${title}: ${used} connections to ${host}`);
    }
    for (const [datastore, own] of Map.groupBy(now, ({ job }) => job.datastores[0])) {
      const most = limits.datastoreRuns || Number.POSITIVE_INFINITY;
      assert.ok(own.length <= most, `${title}: ${own.length} runs at ${datastore}`);
    }
  }
  const bytes = vms.reduce((sum, { job }) => sum + job.fullBytes, 0);
  const [first, last] = [spans.map(({ begin }) => begin), spans.map(({ end }) => end)];
  const spanMs = Math.max(...last) - Math.min(...first);
  if (crew.linkBytesPerSecond > 0)
    assert.ok((bytes / crew.linkBytesPerSecond) * 1000 <= spanMs + 1, `${title}: the link`);
}
