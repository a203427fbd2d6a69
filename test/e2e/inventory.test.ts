// Which VMs there are, and what stands in their way: as a table, as JSON, as CSV.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { after, before, test } from "node:test";
import { findFreePort } from "../lab/ports.ts";
import { startCli } from "../lab/run-cli.ts";
import type { FaultRequest } from "../lab/vcenter/fault-board.ts";
import type { VmSpec } from "../lab/vcenter/vm-spec.ts";
import { until } from "../until.ts";
import { type InventoryLab, startInventoryLab } from "./inventory-lab.ts";
import { assertFailure } from "./migrate-checks.ts";
import { preflightHere } from "./preflight.ts";
import { startAtTerminal, withoutEscapes } from "./terminal.ts";

const gibibyte = 2 ** 30;
const disk = { capacityBytes: 40 * gibibyte };
const kinds: Omit<VmSpec, "paper">[] = [
  {
    name: "good",
    folder: "Kinds",
    usedBytes: 12.5 * gibibyte,
    disks: [disk, { ...disk, key: 2016 }],
  },
  { name: "tracked", folder: "Kinds", changeTracking: true, disks: [disk] },
  { name: "old", folder: "Kinds", hardwareVersion: 4, disks: [disk] },
  { name: "toolless", folder: "Kinds", tools: "notRunning", disks: [disk] },
  { name: "secret", folder: "Kinds", encrypted: true, disks: [disk] },
  { name: "sleeping", folder: "Kinds", powerState: "suspended", disks: [disk] },
  { name: "kept", folder: "Kinds", disks: [disk] },
  { name: "messy", folder: "Kinds", disks: [disk] },
  { name: "tight", folder: "Kinds", disks: [{ ...disk, datastore: "small" }] },
  { name: "full", folder: "Kinds", disks: [{ ...disk, datastore: "full" }] },
  { name: "tpl", folder: "Kinds", template: true, disks: [disk] },
  {
    name: "independent",
    folder: "Kinds",
    disks: [disk, { ...disk, mode: "independent_persistent" }],
  },
  { name: "rdm", folder: "Kinds", disks: [{ ...disk, backing: "rdmPhysical" }] },
  { name: "multiwriter", folder: "Kinds", disks: [{ ...disk, sharing: "sharingMultiWriter" }] },
  { name: "bus", folder: "Kinds", sharedBuses: { 0: "physicalSharing" }, disks: [disk] },
  { name: "diskless", folder: "Kinds", disks: [] },
  { name: "lost", folder: "Kinds", connectionState: "inaccessible", disks: [disk] },
  { name: "orphan", folder: "Kinds", connectionState: "orphaned", disks: [disk] },
  { name: "away", folder: "Kinds", host: "esx-away", disks: [disk] },
  { name: "behind", folder: "Kinds", host: "esx-old", disks: [disk] },
  { name: "bsd", folder: "Kinds", hardware: { guestId: "freebsd12_64Guest" }, disks: [disk] },
  { name: "hidden", folder: "Kinds", disks: [disk] },
  {
    name: "vm10",
    folder: "Order",
    disks: [
      { ...disk, key: 16_000 },
      { ...disk, key: 32_000 },
    ],
  },
  { name: "vm9", folder: "Order", scsi: "lsilogic", disks: [disk] },
  { name: "inner", folder: "Order/Deep", disks: [disk] },
  { name: "shop-db", folder: "Order", vApp: "shop", disks: [disk] },
];
const blocked = [
  ...["away", "behind", "bus", "diskless", "full", "hidden", "independent", "lost", "multiwriter"],
  ...["orphan", "rdm", "tpl"],
];

let lab: InventoryLab;
before(async () => {
  lab = await startInventoryLab({
    vms: kinds.map((spec) => ({ ...spec, paper: true })),
    hosts: ["localhost", "esx-away", "esx-old"],
    datastores: ["datastore1", "small", "full"],
  });
  const { vcenter } = lab;
  vcenter.setHost("esx-away", { connectionState: "notResponding" });
  vcenter.setHost("esx-old", { version: "6.0.0" });
  vcenter.inventory.freeBytes.set("small", 1.5 * gibibyte).set("full", 1000);
  vcenter.vm("messy").set({ consolidationNeeded: true });
  const description = "before the upgrade";
  await vcenter.vm("kept").createSnapshot({ name: "of mine", description, quiesced: false });
  vcenter.faults.add({ name: "propertyMissing", vm: "hidden", value: "config." });
});
after(async () => await lab?.[Symbol.asyncDispose]());

test("the document has every VM below the path with its disks and sums, by folder and name", async () => {
  const order = await lab.document("/Datacenter/vm/Order");
  assert.equal(order.below, "/Datacenter/vm/Order");
  assert.deepEqual(
    order.vms.map(({ vm_path }) => vm_path.replace("/Datacenter/vm/Order/", "")),
    ["vm9", "vm10", "Deep/inner", "shop/shop-db"],
  );
  assert.deepEqual(
    order.vms[1]!.disks.map(({ disk_id, controller, bus }) => [disk_id, controller, bus]),
    [
      ["disk-16000", "sata", 0],
      ["disk-32000", "nvme", 0],
    ],
  );
  assert.equal(order.vms[0]!.disks[0]!.controller, "lsilogic");
  const all = await lab.document();
  const bytes = (vms: typeof all.vms) => vms.reduce((sum, { disk_bytes }) => sum + disk_bytes, 0);
  assert.equal(all.vm_count, kinds.length);
  assert.equal(all.disk_bytes, bytes(all.vms));
  assert.equal(all.disk_count, all.vms.flatMap(({ disks }) => disks).length);
  assert.equal(all.blocked_count, blocked.length);
  const good = all.vms.find(({ name }) => name === "good")!;
  assert.deepEqual([good.disk_bytes, good.used_bytes], [80 * gibibyte, 12.5 * gibibyte]);
  assert.equal(good.instance_uuid, lab.vcenter.vm("good").record.instanceUuid);
  assert.deepEqual(good.findings, []);
  const [snapshot] = all.vms.find(({ name }) => name === "kept")!.snapshots!;
  assert.deepEqual([snapshot?.name, snapshot?.own], ["of mine", false]);
  assert.ok(Math.abs(Date.parse(snapshot!.created_at) - Date.now()) < 600_000);
});

test("each VM is judged as check judges it, and what blocks it has check's code and remedy", async () => {
  const { vms } = await lab.document("--convert");
  const names = vms.filter((vm) => vm.blocked).map(({ name }) => name);
  assert.deepEqual(names.sort(), [...blocked, "bsd"].sort());
  for (const vm of vms) {
    const flags = lab.args("--convert", "--vmware-path", vm.vm_path).slice(1);
    const { findings } = await preflightHere(["check", ...flags], {});
    const ofProperties = findings.filter(
      ({ area, level, code, message }) =>
        level !== "ok" &&
        (["vm", "disk"].includes(area) ||
          (area === "host" && /version/.test(message)) ||
          (area === "vsphere" && level === "problem") ||
          code === "guest-unsupported"),
    );
    assert.deepEqual(vm.findings, ofProperties, vm.name);
  }
});

test("by default a guest without a conversion blocks nothing", async () => {
  const { vms } = await lab.document();
  assert.deepEqual(vms.find(({ name }) => name === "bsd")?.findings, []);
});

test("settings that check judges by hold here too", async () => {
  const of = async (name: string, ...flags: string[]) =>
    (await lab.document(...flags)).vms.find((vm) => vm.name === name)!;
  assert.equal((await of("toolless")).findings.length, 1);
  assert.deepEqual((await of("toolless", "--no-quiesce-snapshot")).findings, []);
  assert.equal((await of("kept")).tracking, "snapshots");
  assert.equal((await of("kept", "--allow-tracking-over-snapshots")).tracking, "off");
  assert.ok((await of("good", "--datastore-floor", "2T")).blocked);
});

test("it calls nothing that needs more than to read, and an account that may do no more is enough", async () => {
  lab.vcenter.log.clear();
  const document = await lab.document("--vmware-username", "readonly@vsphere.local");
  assert.equal(document.vm_count, kinds.length);
  assert.deepEqual([...new Set(lab.vcenter.log.methods())].sort(), [
    ...["CreateContainerView", "DestroyView", "Login", "Logout"],
    ...["RetrievePropertiesEx", "RetrieveServiceContent"],
  ]);
  assert.deepEqual(
    lab.vcenter.log.calls.filter(({ outcome }) => outcome !== "ok").map(({ method }) => method),
    [],
  );
  assert.ok(!existsSync(lab.stateDir), "no state directory is made");
});

test("for people there is a row for each below its folder, what blocks it with its remedy, and sums", async () => {
  const { code, stdout, stderr } = await lab.run("--color", "always");
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^127\.0\.0\.1:\d+ \(VMware vCenter Server 7\.0\.3 [^)]*\)$/m);
  assert.match(stdout, /^VM +power +disks +used +CPUs +memory +tracking +snapshots +guest$/m);
  assert.match(
    stdout,
    /^\/Datacenter\/vm\/Kinds\n {2}away +disconnected .*\n {4}blocked: away is disconnected: its ESXi host esx-away is notResponding \[vm-unsuitable\]\n {6}fix: Connect the host/m,
  );
  assert.match(stdout, /^ {2}good +on +2: 80\.0 GiB +12\.5 GiB +2 +2\.0 GiB +off +- +Debian/m);
  assert.match(stdout, /^ {2}toolless .*\n {4}note: VMware Tools do not run/m);
  assert.match(stdout, /^ {2}tpl +template /m);
  assert.match(
    stdout,
    /\n26 VMs with 26 disks of 1\.0 TiB, 1\.0 TiB used\n12 blocked, 8 with something to know before\n$/,
  );
  assert.ok(stdout.indexOf("  vm9 ") < stdout.indexOf("  vm10 "));
  assert.ok(!stdout.includes("\u001b"));
});

for (const columns of [60, 80, 120, 200]) {
  test(`at ${columns} columns no line is wider, and what has no column is told below`, async () => {
    const { code, output } = await startAtTerminal({ args: lab.args(), columns }).result;
    assert.equal(code, 0, output);
    const text = withoutEscapes(output);
    for (const line of text.split("\n").filter((each) => !each.includes("://")))
      assert.ok(line.length <= columns, `${line.length}: ${line}`);
    assert.ok(text.replaceAll(/\s+/g, " ").includes("Debian GNU/Linux 11 (64-bit)"));
    if (columns === 60)
      assert.match(text, /^ {2}good +on .*\n {4}.*memory 2\.0 GiB, tracking off/m);
  });
}

test("LANG=C gets ASCII alone, NO_COLOR and a dumb terminal no escape", async () => {
  const env = { LANG: "C", LC_ALL: "C", NO_COLOR: "1", TERM: "dumb" };
  const { output } = await startAtTerminal({ args: lab.args(), columns: 80, env }).result;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it is the range that is meant
  assert.doesNotMatch(output, /[^\u0000-\u007f]|\u001b/);
});

/** As Python's own reader of CSV has it. */
function parsedCsv(text: string): string[][] {
  const script =
    "import csv, json, sys\nprint(json.dumps(list(csv.reader(sys.stdin, strict=True))))";
  const { stdout, stderr } = spawnSync("python3", ["-c", script], {
    input: text,
    encoding: "utf8",
    env: { ...process.env, PYTHONIOENCODING: "utf-8" },
  });
  assert.equal(stderr, "");
  return JSON.parse(stdout) as string[][];
}

test("--csv has a line for each VM, quoted so that another reader has the names, and no formula", async () => {
  const names = [
    'a "quoted", name',
    "two\nlines",
    "=cmd|'/C calc'!A0",
    "+1",
    "-1+2",
    "@SUM(A1)",
    "東京",
  ];
  await using odd = await startInventoryLab({
    vms: names.map((name) => ({ name, paper: true, disks: [disk, disk] })),
  });
  const { code, stdout } = await odd.run("--csv");
  assert.equal(code, 0);
  const [head, ...rows] = parsedCsv(stdout);
  assert.equal(stdout.split("\r\n").length, names.length + 2, "lines end as RFC 4180 has it");
  const column = (name: string) => rows.map((row) => row[head!.indexOf(name)]!);
  assert.ok(rows.every((row) => row.length === head!.length));
  const inInventory = (name: string) => name.replaceAll("/", "%2f");
  const harmless = (name: string) => (/^[=+\-@]/.test(name) ? `'${name}` : name);
  assert.deepEqual(column("name").sort(), names.map((name) => harmless(inInventory(name))).sort());
  assert.ok(column("vm_path").every((path) => path.startsWith("/Datacenter/vm/")));
  assert.deepEqual(new Set(column("disk_bytes")), new Set([String(80 * gibibyte)]));
  assert.match(
    column("disks")[0]!,
    /^disk-2000 42949672960 pvscsi 0:0 flat persistent; disk-2001 /,
  );
  for (const row of rows) for (const cell of row) assert.doesNotMatch(cell, /^[=+\-@\t\r]/);
});

test("a signal ends it, and takes back view and page", async () => {
  await using large = await startInventoryLab({
    vms: Array.from({ length: 120 }, (_, at) => ({ name: `vm${at}`, paper: true, disks: [disk] })),
  });
  const { faults, log, sessions } = large.vcenter;
  const method = "ContinueRetrievePropertiesEx";
  faults.add({ name: "delayMs", method, value: 3000 });
  const run = startCli({ args: large.args("--json") });
  await until("it asks for the second page", () => log.methods().includes(method));
  run.child.kill("SIGINT");
  const { code, signal, stdout } = await run.result;
  assert.deepEqual([code, signal], [null, "SIGINT"]);
  assert.match(stdout, /"status":"interrupted","exit_code":130/);
  const ending = log.methods().slice(log.methods().indexOf(method) + 1);
  assert.deepEqual(ending, ["CancelRetrievePropertiesEx", "DestroyView", "Logout"]);
  assert.deepEqual(sessions.all(), []);
});

test("a list that takes its time says how far it is", async () => {
  await using large = await startInventoryLab({
    vms: Array.from({ length: 160 }, (_, at) => ({ name: `vm${at}`, paper: true, disks: [disk] })),
  });
  const slow: FaultRequest = {
    name: "delayMs",
    method: "ContinueRetrievePropertiesEx",
    value: 1100,
  };
  large.vcenter.faults.add(slow);
  const { stderr } = await large.run();
  assert.match(stderr, /\d+ VMs read so far/);
  large.vcenter.faults.clear();
  assert.equal((await large.run("-q")).stderr, "");
});

test("a vCenter that cannot be reached, refuses or has no such path ends with 3, wrong words with 2", async () => {
  const port = await findFreePort();
  const cases: [string[], number, RegExp][] = [
    [["--vmware-endpoint", `127.0.0.1:${port}`], 3, /vsphere-unreachable/],
    [["--vmware-username", "nobody"], 3, /vsphere-login/],
    [["/Datacenter/vm/Kind"], 3, /vm-not-found.*"\/Datacenter\/vm\/Kinds"/],
    [["Kinds"], 2, /the path is "Kinds"; it takes a path such as/],
    [["--json", "--csv"], 2, /--json and --csv exclude each other/],
    [["--plan-target", "nbd://h/{vm}-{key}"], 2, /--plan-target says something of --plan/],
    [["--replace-plan"], 2, /--replace-plan says something of --plan/],
    [["--plan", "x", "--plan-target", "nbd://h/{name}"], 2, /--plan-target has \{name\}/],
    [["--plan", "x", "--plan-target", "nbd://h/{vm}"], 2, /names no disk/],
    [["--plan", "x", "--plan-target", "nbd://h/{key}"], 2, /names no VM/],
  ];
  for (const [flags, code, cause] of cases) {
    const run = await lab.run(...flags);
    if (flags.includes("--json")) assert.match(run.stdout, cause);
    else assertFailure(run, code, cause);
    assert.equal(run.code, code);
  }
  assert.ok(!existsSync("x"));
});

test("an empty folder is said to be empty", async () => {
  lab.vcenter.inventory.addFolder("Empty");
  const { code, stdout } = await lab.run("/Datacenter/vm/Empty");
  assert.equal(code, 0);
  assert.match(stdout, /, below \/Datacenter\/vm\/Empty\nno VM that this account sees\n$/);
  assert.equal((await lab.document("/Datacenter/vm/Empty")).vm_count, 0);
});
