/** VMware's own Go library against the lab's vCenter: what it sees must be the truth of the simulator. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { promisify } from "node:util";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import type { VcenterLab, VcenterOptions } from "../lab/vcenter/vcenter.ts";
import { startTestLab } from "../lab-tests/vcenter-lab.ts";

const binary = new URL("../../.lab/govmomi-client", import.meta.url).pathname;
const mebibyte = 1_048_576;
const vms = [
  {
    name: "web/01",
    folder: "Folder/Nested",
    disks: [
      { capacityBytes: 24 * mebibyte + 1536, fill: { seed: 1, dataRatio: 0.4, zeroRatio: 0.1 } },
      { capacityBytes: 12 * mebibyte + 512, fill: { seed: 2, dataRatio: 0.4 } },
    ],
  },
  { name: "other", disks: [{ capacityBytes: mebibyte }] },
];

/** What test/interop/govmomi prints. */
interface Report {
  about: { ApiType: string };
  userName: string;
  vm: string;
  inventoryPath: string;
  foundByIndex: string;
  inView: string[];
  name: string;
  instanceUuid: string;
  version: string;
  powerState: string;
  toolsStatus: string;
  host: string;
  trackingBefore: boolean;
  trackingAfter: boolean;
  snapshot: string;
  snapshotsAtWork: string[];
  snapshotsAfter: string[];
  granted: Record<string, boolean>;
  disks: {
    key: number;
    capacityBytes: number;
    controllerKey: number;
    unitNumber: number;
    fileName: string;
    changeId: string;
    pages: number;
    areas: [number, number][];
  }[];
}

interface ClientOptions {
  since?: string;
  password?: string;
  thumbprint?: string;
}

async function runClient(lab: VcenterLab, path: string, options: ClientOptions = {}) {
  const wanted = ["-path", path, "-since", options.since ?? "*"];
  const { stdout } = await runWith(lab, wanted, options);
  return JSON.parse(stdout) as Report;
}

async function runWith(lab: VcenterLab, more: readonly string[], options: ClientOptions = {}) {
  assert.ok(existsSync(binary), "build it with: node .ci/setup.mjs --test");
  const { thumbprint = lab.thumbprintSha1, password = lab.password } = options;
  const account = ["-endpoint", lab.endpoint, "-username", lab.username];
  return await promisify(execFile)(binary, [...account, "-thumbprint", thumbprint, ...more], {
    env: { ...process.env, GOVMOMI_PASSWORD: password },
  });
}

test("govmomi logs in, finds a machine in three ways and reads what is there", async () => {
  await using lab = await startTestLab({ vms, hosts: ["esx7.lab"] });
  const { vcenter } = lab;
  const vm = vcenter.vm("web/01");
  const report = await runClient(vcenter, vm.path);
  assert.equal(report.about.ApiType, "VirtualCenter");
  assert.equal(report.userName, vcenter.username);
  assert.equal(report.inventoryPath, "/Datacenter/vm/Folder/Nested/web%2f01");
  assert.deepEqual([report.vm, report.foundByIndex], [vm.moref, vm.moref]);
  assert.deepEqual(report.inView.sort(), ["other", "web%2f01"]);
  const { name, instanceUuid, version, powerState, toolsStatus, host } = report;
  assert.deepEqual(
    [name, instanceUuid, version, powerState, toolsStatus, host],
    ["web%2f01", vm.record.instanceUuid, "vmx-19", "poweredOn", "toolsOk", "esx7.lab"],
  );
  assert.deepEqual(report.granted, {
    "VirtualMachine.State.CreateSnapshot": true,
    "No.Such.Privilege": false,
  });
});

test("govmomi reads all machines in the lab's pages, as many as it asks for and as many as it is given", async () => {
  const paper = { paper: true, disks: [{ capacityBytes: mebibyte }, { capacityBytes: mebibyte }] };
  const many = Array.from({ length: 33 }, (_, index) => ({
    ...{ ...paper, name: `vm/${index}`, folder: `Folder ${index % 4}` },
  }));
  await using lab = await startTestLab({ vms: many });
  const { vcenter } = lab;
  const list = async () => {
    const { stdout } = await runWith(vcenter, ["-list", "10"]);
    return JSON.parse(stdout) as {
      pages: string[][];
      disks: Record<string, number>;
      paths: Record<string, string>;
    };
  };
  const regular = await list();
  assert.deepEqual(
    regular.pages.map(({ length }) => length),
    [10, 10, 10, 3],
  );
  vcenter.faults.add({ name: "shortPages" });
  vcenter.faults.add({ name: "vmVanishes", vm: "vm/32", count: 1 });
  const short = await list();
  assert.ok(short.pages.length > 4, `${short.pages.length} pages`);
  for (const [{ pages, disks, paths }, count] of [
    [regular, 33],
    [short, 32],
  ] as const) {
    const expected = many.slice(0, count).map(({ name }) => name.replace("/", "%2f"));
    assert.deepEqual(pages.flat().sort(), expected.sort());
    assert.ok(Object.values(disks).every((number) => number === 2));
    const own = vcenter.vms.map(({ path }) => path);
    assert.deepEqual(
      own.filter((path) => !Object.values(paths).includes(path)),
      [],
    );
  }
});

test("govmomi turns tracking on, snapshots, reads the areas page by page and cleans up", async () => {
  await using lab = await startTestLab({ vms, areasPerPage: 2 });
  const { vcenter } = lab;
  const vm = vcenter.vm("web/01");
  const full = await runClient(vcenter, vm.path);
  assert.deepEqual([full.trackingBefore, full.trackingAfter], [false, true]);
  assert.deepEqual([full.snapshotsAtWork, full.snapshotsAfter], [["interop"], []]);
  assertDisks(full, vm, "*");
  assert.deepEqual(
    full.disks.map(({ key, controllerKey, unitNumber, fileName }) => [
      ...[key, controllerKey, unitNumber, fileName],
    ]),
    [
      [2000, 1000, 0, "[datastore1] web_01/web_01.vmdk"],
      [2001, 1000, 1, "[datastore1] web_01/web_01_1.vmdk"],
    ],
  );
  for (const disk of full.disks) assert.ok(disk.pages > 1);
});

test("govmomi learns exactly what changed between two snapshots", async () => {
  await using lab = await startTestLab({ vms: [{ ...vms[0]!, disks: [vms[0]!.disks[0]!] }] });
  const { vcenter } = lab;
  const vm = vcenter.vm("web/01");
  const full = await runClient(vcenter, vm.path);
  const since = full.disks[0]!.changeId;
  await vm.randomWrites(2000, { seed: 3, writes: 9, maximumBytes: 200_000 });
  const later = await runClient(vcenter, vm.path, { since });
  assert.notEqual(later.disks[0]!.areas.length, 0);
  assertDisks(later, vm, since);
});

test("govmomi is refused a wrong password, a wrong thumbprint and a machine that is not there", async () => {
  await using lab = await startTestLab({ vms });
  const { vcenter } = lab;
  const { path } = vcenter.vm("other");
  const wrong = `${"00:".repeat(19)}00`;
  await assert.rejects(runClient(vcenter, path, { password: "x" }), /incorrect user name or/);
  await assert.rejects(runClient(vcenter, path, { thumbprint: wrong }), /thumbprint|x509/);
  await assert.rejects(runClient(vcenter, "/Datacenter/vm/none"), /finder: vm .* not found/);
});

test("govmomi reports the faults of tasks and queries by their own types", async () => {
  await using lab = await startTestLab({ vms });
  const { vcenter } = lab;
  const { path } = vcenter.vm("other");
  const faults: [Parameters<typeof vcenter.faults.add>[0], RegExp][] = [
    [{ name: "quiesceFault", count: 1 }, /snapshot task: .*quiescing/],
    [{ name: "fileFault", count: 1 }, /changed areas of disk 2000: .*Error caused by file/],
    [{ name: "permissionDenied", count: 1 }, /Permission to perform this operation was denied/],
  ];
  for (const [fault, expected] of faults) {
    vcenter.faults.add(fault);
    await assert.rejects(runClient(vcenter, path), expected);
  }
});

test("govmomi knows the lab's ESXi host as one", async () => {
  const options: Partial<VcenterOptions> = { vms: [vms[1]!], apiType: "HostAgent" };
  await using lab = await startTestLab(options);
  const { vcenter } = lab;
  const report = await runClient(vcenter, vcenter.vm("other").path);
  assert.equal(report.about.ApiType, "HostAgent");
  assertDisks(report, vcenter.vm("other"), "*");
});

function assertDisks(report: Report, vm: LabVm, since: string): void {
  assert.deepEqual(
    report.disks.map(({ key, capacityBytes }) => [key, capacityBytes]),
    vm.disks.map(({ record }) => [record.key, record.capacityBytes]),
  );
  for (const disk of report.disks) {
    assert.deepEqual(disk.areas.flat(), [...vm.changedSince(disk.key, since, report.snapshot)]);
  }
}
