import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { MigratekitError } from "../../../src/errors.ts";
import type { FleetPlan } from "../../../src/fleet/fleet.ts";
import { PlanMistakes, readFleetPlan } from "../../../src/fleet/plan/plan.ts";
import { readVmList } from "../../../src/migration/list/read-list.ts";

const dir = mkdtempSync(join(tmpdir(), "mk-plan-"));
after(() => rmSync(dir, { recursive: true }));
const path = join(dir, "plan.yaml");

function read(...lines: string[]): FleetPlan {
  writeFileSync(path, `${lines.join("\n")}\n`);
  return readFleetPlan(path, new Map(), {});
}

/** The defaults that every plan here begins with: three lines. */
const start = ["defaults:", "  vmware-endpoint: VC.example.com", "vms:"];
const vm = (name: string, ...fields: string[]) => [
  `  - vmware-path: /DC/vm/${name}`,
  `    nbd-export-name: ${name.replaceAll("/", "-")}-{key}`,
  ...fields.map((field) => `    ${field}`),
];

/** Each as `LINE: what`. */
function mistakesOf(...lines: string[]): string[] {
  try {
    read(...lines);
  } catch (error) {
    assert.ok(error instanceof MigratekitError && error.code === "usage", String(error));
    const all = error instanceof PlanMistakes ? error.mistakes : [error];
    return all.map(({ message }) => {
      assert.ok(message.startsWith(`${path}:`), message);
      return message.slice(path.length + 1).replaceAll(path, "plan.yaml");
    });
  }
  return assert.fail("it was taken");
}

test("an entry is what its fields say, then the defaults, then what holds without either", () => {
  const plan = read(
    "fleet:",
    "  host-connections: 12",
    "  datastore-runs: 4",
    "  target-drop-time: 30s",
    ...start.slice(0, 2),
    "  wave: pilot",
    "  every: 15m",
    "  labels: [site=rome, kind=db]",
    "  time-zone: Europe/Rome",
    "  cutover-window: Sat,Sun",
    "  deploy: true",
    "vms:",
    ...vm("a/web01"),
    ...vm(
      "db01",
      ...[
        "wave: 2",
        "priority: -3",
        'schedule: "0  22 * * mon-fri"',
        "max-rate: 08:00,50M 19:00,off",
      ],
      ...[
        "cutover-window: [Mon 01:00-03:00, Sun]",
        "sync-window: 20:00-06:00",
        "labels: site=milan",
      ],
    ),
    ...vm("b/web01", "after: [db01, /DC/vm/a/web01]", "every: once"),
  );
  assert.deepEqual(plan.limits, { hostConnections: 12, datastoreRuns: 4, targetRuns: 0 });
  assert.equal(plan.targetDropMs, 30_000);
  const [web, db, other] = plan.vms;
  assert.deepEqual(web, {
    name: "/DC/vm/a/web01",
    endpoint: "vc.example.com:443",
    vmPath: "/DC/vm/a/web01",
    wave: "pilot",
    priority: 0,
    schedule: { kind: "every", everyMs: 900_000 },
    syncWindows: [],
    cutoverWindows: [{ fromMinute: 7200, toMinute: 10_080, timeZone: "Europe/Rome" }],
    labels: ["kind=db", "site=rome"],
    after: [],
    settings: {
      "vmware-endpoint": "vc.example.com:443",
      "vmware-path": "/DC/vm/a/web01",
      "nbd-export-name": "a-web01-{key}",
      deploy: "true",
    },
  });
  assert.deepEqual(
    [db!.name, db!.wave, db!.priority, db!.labels],
    ["db01", "2", -3, ["site=milan"]],
  );
  assert.deepEqual(db!.schedule, {
    kind: "cron",
    line: "0 22 * * mon-fri",
    timeZone: "Europe/Rome",
  });
  assert.equal(db!.cutoverWindows.length, 2);
  assert.equal(db!.syncWindows.length, 7);
  assert.equal(db!.settings["max-rate"], "08:00,50M 19:00,off");
  assert.deepEqual(other!.after, ["db01", "/DC/vm/a/web01"]);
  assert.deepEqual(other!.schedule, { kind: "once" });
});

test("without a section of its own the fleet has the limits of the flags, and no drop time is known", () => {
  const plan = read(...start, ...vm("web01"));
  assert.deepEqual(plan.limits, { hostConnections: 24, datastoreRuns: 0, targetRuns: 0 });
  assert.equal(plan.targetDropMs, undefined);
  const [{ wave, schedule, labels }] = plan.vms as [FleetPlan["vms"][number]];
  assert.deepEqual([wave, schedule, labels], ["1", { kind: "once" }, []]);
});

test("names are as short as they can be: the endpoint tells two vCenters' VMs of one path apart", () => {
  const plan = read(
    ...start,
    ...vm("web01"),
    ...[
      "  - vmware-path: /DC/vm/web01",
      "    vmware-endpoint: other:8443",
      "    nbd-export-name: x",
    ],
    ...vm("web02", "after: other:8443/DC/vm/web01"),
  );
  const names = ["vc.example.com:443/DC/vm/web01", "other:8443/DC/vm/web01", "web02"];
  assert.deepEqual(
    plan.vms.map(({ name }) => name),
    names,
  );
  assert.deepEqual(plan.vms[2]!.after, [names[1]]);
});

test("the endpoint may come from where other commands have it; nothing else of there becomes the plan's", () => {
  writeFileSync(path, ["vms:", ...vm("web01")].join("\n"));
  const config = join(dir, "vcenter.yaml");
  writeFileSync(
    config,
    "vmware-endpoint: vc2\nvmware-password-file: /nonexistent\nnbd-port: 999\n",
  );
  const plan = readFleetPlan(path, new Map([["config", config]]), {});
  assert.deepEqual(plan.vms[0]!.settings, {
    "vmware-endpoint": "vc2:443",
    "vmware-path": "/DC/vm/web01",
    "nbd-export-name": "web01-{key}",
  });
});

const field: [title: string, fields: string[], said: RegExp][] = [
  ["a wave that is none", ["wave: [a, b]"], /^6: wave has 2 values; it takes one/],
  ["a wave's name with a comma", ['wave: "a,b"'], /^6: wave is "a,b"; it takes a name/],
  [
    "a priority that is none",
    ["priority: high"],
    /^6: priority is "high"; it takes a whole number/,
  ],
  ["a span that is none", ["every: often"], /^6: every is "often"; it takes a span/],
  ["a span of nothing", ["every: 0s"], /^6: every is "0s"; it takes a span such as 15m, from 1s/],
  [
    "a cron line that is none",
    ['schedule: "* * *"'],
    /^6: schedule is "\* \* \*"; it takes five fields/,
  ],
  ["a day that never comes", ['schedule: "0 0 31 2 *"'], /^6: schedule .* a day that never comes/],
  ["two schedules", ["every: 1h", 'schedule: "0 * * * *"'], /^7: schedule and every say both/],
  ["a time zone that is none", ["time-zone: Europe/Roma"], /^6: time-zone is "Europe\/Roma"/],
  [
    "a window that is none",
    ["sync-window: at night"],
    /^6: sync-window is "at night"; it takes windows/,
  ],
  ["windows that never open", ["cutover-window: []"], /^6: cutover-window has no window/],
  ["a label that is none", ["labels: rome"], /^6: labels has "rome"; it takes KEY=VALUE/],
  ["a value that is a map", ["labels: {site: rome}"], /^6: labels has no value that can be used/],
  ["an unknown VM", ["after: [db02]"], /^6: after has "db02", which is no VM of this plan/],
  [
    "a field nearly known",
    ["cutover-windows: Sun"],
    /^6: unknown setting "cutover-windows" \(did you mean "cutover-window"\?\)/,
  ],
  ["a setting of the whole", ["memory: 64M"], /^6: memory is not for one VM/],
  [
    "a setting of another command",
    ["sample: true"],
    /^6: sample is not a setting of migrate or cutover/,
  ],
  [
    "a bad setting",
    ["parallel-disks: 99"],
    /^6: parallel-disks is "99"; it takes a whole number from 1 to 16/,
  ],
  ["bad targets", ["nbd-targets: 2000=x"], /^4: .*entry 1 \(2000=x\)/],
  [
    "both kinds of targets",
    ["nbd-targets: 2000:nbd://a/x", "cloudstack-volumes: create"],
    /^4: .*both say what the targets are/,
  ],
  ["a password", ["vmware-password: pa55word"], /^6: vmware-password does not belong into a plan$/],
  [
    "a secret key",
    ["cloudstack-secret-key: pa55word"],
    /^6: cloudstack-secret-key does not belong/,
  ],
];
for (const [title, fields, said] of field) {
  test(`${title} is refused with its line and field`, () => {
    const [mistake, ...more] = mistakesOf(...start, ...vm("web01", ...fields));
    assert.match(mistake!, said);
    assert.deepEqual(more, []);
  });
}

test("the mistakes of the defaults and of the limits are told once, whatever number of VMs there is", () => {
  const vms = ["vms:", ...vm("web01"), ...vm("web02")];
  const endpoint = "  vmware-endpoint: vc";
  assert.deepEqual(mistakesOf("defaults:", endpoint, "  sync-window: x", ...vms).length, 1);
  assert.match(
    mistakesOf("defaults:", endpoint, "  after: web01", ...vms)[0]!,
    /^3: after is not for all VMs/,
  );
  assert.match(
    mistakesOf("defaults:", endpoint, "  vmware-password: x", ...vms)[0]!,
    /^3: vmware-password does not/,
  );
  assert.match(
    mistakesOf("fleet:", "  host-connections: 100", ...vms)[0]!,
    /^2: host-connections is "100"; it takes a whole number from 1 to 52/,
  );
  assert.match(
    mistakesOf("fleet:", "  hosts: 1", ...vms)[0]!,
    /^2: fleet knows no "hosts"; there are host-connections/,
  );
  assert.match(
    mistakesOf("fleets: {}", ...vms)[0]!,
    /^1: unknown section "fleets"; there are defaults, vms and fleet/,
  );
  assert.match(mistakesOf("vms: []")[0]!, /names no VM/);
});

test("a VM, a target, a volume or a job twice is refused with both places", () => {
  const id = "8d1f7a52-3c14-4f6e-9a0b-0123456789ab";
  assert.match(
    mistakesOf(...start, ...vm("web01"), "  - vmware-path: /DC/vm/web01")[0]!,
    /^6: the VM \/DC\/vm\/web01 at vc.example.com:443 is that of the entry at plan.yaml:4 already/,
  );
  assert.match(
    mistakesOf(...start, "  - vmware-path: /DC/vm/a", "  - vmware-path: /DC/vm/b")[0]!,
    /^5: the target .*migration is that of the entry at plan.yaml:4 already/,
  );
  const volume = `cloudstack-volumes: 2000:${id}`;
  assert.match(
    mistakesOf(...start, ...vm("a", volume), ...vm("b", volume))[0]!,
    /^7: the volume 8d1f7a52/,
  );
  assert.match(
    mistakesOf(...start, ...vm("a", "job-id: x"), ...vm("b", "job-id: x"))[0]!,
    /^7: the job x/,
  );
});

test("all mistakes are told at once, in the plan's order, and a message has how many they are", () => {
  const lines = [
    ...start,
    ...vm("a", "every: x"),
    ...vm("b"),
    ...vm("c", "labels: x", "prioritie: 1"),
    ...vm("d", "wave: [x, y]"),
  ];
  assert.deepEqual(
    mistakesOf(...lines).map((text) => text.slice(0, text.indexOf(" ", 4))),
    ["6: every", "12: unknown", "15: wave"],
  );
  assert.throws(() => read(...lines), /^MigratekitError: .*plan.yaml has 3 mistakes; the first: /);
});

test("a circle is told once as a way through it, however long the way to it is", () => {
  assert.deepEqual(mistakesOf(...start, ...vm("a", "after: a")), [
    "6: after goes in a circle: a -> a",
  ]);
  const circle = [
    ...vm("x", "after: [a]"),
    ...vm("a", "after: [y, b]"),
    ...vm("b", "after: c"),
    ...vm("c", "after: /DC/vm/a"),
    ...vm("y"),
    ...vm("d", "after: [d2, y]"),
    ...vm("d2", "after: d"),
  ];
  assert.deepEqual(mistakesOf(...start, ...circle), [
    "9: after goes in a circle: a -> b -> c -> a",
    "20: after goes in a circle: d -> d2 -> d",
  ]);
  const names = Array.from({ length: 20_000 }, (_, at) => `vm${at}`);
  const chain = names.flatMap((name, at) => vm(name, ...(at === 0 ? [] : [`after: vm${at - 1}`])));
  assert.equal(read(...start, ...chain).vms.length, names.length);
});

test("a name that several VMs share has to be a path in after", () => {
  const shared = [...vm("a/web"), ...vm("b/web"), ...vm("c", "after: web")];
  assert.deepEqual(mistakesOf(...start, ...shared), [
    '10: after has "web", which may be /DC/vm/a/web, /DC/vm/b/web',
  ]);
});

test("migrate --vms takes the plan, too, and says what it does not heed", () => {
  const fields = ["wave: 2", "every: nonsense", "max-rate: 1M"];
  writeFileSync(
    path,
    [
      "fleet: {datastore-runs: 2}",
      ...start,
      ...vm("web01", ...fields),
      ...vm("web02", "deploy: true"),
    ].join("\n"),
  );
  const environment = { MIGRATEKIT_VMWARE_USERNAME: "u", MIGRATEKIT_VMWARE_PASSWORD: "p" };
  const { vms, unheeded } = readVmList(path, new Map(), environment);
  assert.deepEqual(
    vms.map(({ name }) => name),
    ["web01", "web02"],
  );
  assert.deepEqual(unheeded, ["wave", "every", "max-rate", "fleet"]);
});
