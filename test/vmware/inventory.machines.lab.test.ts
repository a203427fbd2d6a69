/** All machines below a place, streamed: whole and without repeats, whatever happens to the list meanwhile. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { MigratekitError } from "../../src/errors.ts";
import type { InventoryVm } from "../../src/vmware/inventory/machines.ts";
import type { VsphereClient } from "../../src/vmware/vmware.ts";
import type { FaultRequest } from "../lab/vcenter/fault-board.ts";
import type { VcenterOptions } from "../lab/vcenter/vcenter.ts";
import type { VmSpec } from "../lab/vcenter/vm-spec.ts";
import { type LabClient, startLabClient } from "./lab-client.ts";

const disk = { capacityBytes: 1_048_576 };
const { signal } = new AbortController();

function many(count: number): VmSpec[] {
  return Array.from({ length: count }, (_, index) => ({
    ...{ name: `vm${index}`, folder: `Folder ${index % 3}`, paper: true, disks: [disk] },
  }));
}

async function listed(client: VsphereClient, path?: string): Promise<InventoryVm[]> {
  return await Array.fromAsync((await client.openInventory(path, signal)).vms);
}

const pathsOf = (vms: readonly InventoryVm[]) => vms.map(({ path }) => path).sort();
const allPaths = ({ lab }: LabClient) => lab.vms.map(({ path }) => path).sort();

function called(started: LabClient, method: string): number {
  return started.lab.log.methods().filter((name) => name === method).length;
}

/** Every view that was made in a session that lives is gone. */
function assertTidy({ lab }: LabClient): void {
  assert.deepEqual(
    lab.sessions.all().flatMap(({ views }) => [...views.keys()]),
    [],
  );
}

test("machines come page by page with their paths and what a run would read of them", async () => {
  await using started = await startLabClient({ vms: many(120) });
  const { client, lab } = started;
  const vms = await listed(client);
  assert.deepEqual(pathsOf(vms), allPaths(started));
  assert.equal(called(started, "ContinueRetrievePropertiesEx"), 2, "pages of 50");
  const vm = vms.find(({ name }) => name === "vm7")!;
  const { hardware, ...facts } = await client.readVm(lab.vm("vm7").moref);
  const { nics, ...board } = hardware;
  assert.deepEqual(vm.facts, { ...facts, hardware: board }, "as readVm has it");
  assert.equal(nics.length, 1, "the cards alone are not asked for");
  assert.deepEqual(
    [vm.powerState, vm.connectionState, vm.guestName, vm.usedBytes],
    ["poweredOn", "connected", "Debian GNU/Linux 11 (64-bit)", 1_048_576],
  );
  assert.deepEqual(vm.datastores, [{ name: "datastore1", freeBytes: 2 ** 40 }]);
  assertTidy(started);
});

test("only what is used is asked for, and nothing is called that could change anything", async () => {
  await using started = await startLabClient({ vms: many(3) });
  started.lab.log.clear();
  await listed(started.client);
  assert.deepEqual([...new Set(started.lab.log.methods())].sort(), [
    ...["CreateContainerView", "DestroyView", "RetrievePropertiesEx"],
  ]);
  const asked = JSON.stringify(started.lab.log.calls.at(-2)?.parameters);
  assert.ok(asked.includes("config.hardware.device"));
  for (const path of ['"config"', '"guest"', '"summary"', "guest.net"])
    assert.ok(!asked.includes(path), path);
});

describe("the list is whole, each machine once, when", { concurrency: 4 }, () => {
  const cases: [string, FaultRequest, Partial<VcenterOptions>?][] = [
    ["the server sends fewer than asked for", { name: "shortPages" }],
    ["the server has a limit of its own", { name: "shortPages", count: 1 }, { objectsPerPage: 7 }],
    [
      "the session expires between two pages",
      { name: "expireSessions", method: "ContinueRetrievePropertiesEx", skip: 1, count: 1 },
    ],
    [
      "the session expires at the first page",
      { name: "expireSessions", method: "RetrievePropertiesEx", count: 1 },
    ],
    [
      "a page is cut off on the way",
      { name: "cutConnection", method: "ContinueRetrievePropertiesEx", count: 1 },
    ],
    [
      "an answer makes no sense",
      { name: "truncatedAnswer", method: "ContinueRetrievePropertiesEx", count: 1 },
    ],
    [
      "an object that was removed makes a page fail",
      {
        name: "callFault",
        method: "ContinueRetrievePropertiesEx",
        count: 1,
        fault: { type: "ManagedObjectNotFound", text: "has already been deleted" },
      },
    ],
    [
      "a page fails with a fault that passes",
      {
        name: "callFault",
        method: "ContinueRetrievePropertiesEx",
        count: 2,
        fault: { type: "SystemError", text: "A general system error occurred" },
      },
    ],
    [
      "a property of one machine cannot be read just now",
      {
        name: "propertyMissing",
        vm: "vm5",
        value: "config.hardware.device",
        count: 1,
        fault: { type: "SystemError", text: "A general system error occurred" },
      },
    ],
  ];
  for (const [title, fault, options] of cases)
    test(title, async () => {
      await using started = await startLabClient({ vms: many(160), ...options });
      started.lab.faults.add(fault);
      const vms = await listed(started.client);
      assert.deepEqual(pathsOf(vms), allPaths(started));
      assert.ok(vms.every(({ facts }) => !(facts instanceof Error)));
      assertTidy(started);
    });
});

test("a machine that is removed meanwhile is left out, and no other", async () => {
  await using started = await startLabClient({ vms: many(160) });
  const gone = started.lab.vm("vm159").path;
  started.lab.faults.add({ name: "vmVanishes", vm: "vm159", count: 1 });
  const paths = pathsOf(await listed(started.client));
  assert.equal(paths.length, 159);
  assert.ok(!paths.includes(gone));
});

test("a list that fails each time without getting further is given up, and leaves no view behind", async () => {
  await using started = await startLabClient({ vms: many(10) });
  const fault = { type: "ManagedObjectNotFound", text: "has already been deleted" };
  started.lab.faults.add({ name: "callFault", method: "RetrievePropertiesEx", skip: 1, fault });
  await assert.rejects(listed(started.client), (error) => {
    assert.ok(error instanceof MigratekitError);
    assert.equal(error.code, "vsphere-fault");
    assert.match(error.message, /cannot list the virtual machines on .*ManagedObjectNotFound/);
    return true;
  });
  assertTidy(started);
});

test("who stops early, or is stopped, takes back view and page", async () => {
  await using started = await startLabClient({ vms: many(160) });
  for await (const vm of (await started.client.openInventory(undefined, signal)).vms) {
    assert.ok(vm.path);
    break;
  }
  assert.equal(called(started, "CancelRetrievePropertiesEx"), 1);
  assertTidy(started);

  const controller = new AbortController();
  const reason = new Error("stop");
  const { vms } = await started.client.openInventory(undefined, controller.signal);
  const delay = { name: "delayMs", method: "ContinueRetrievePropertiesEx", value: 1500 } as const;
  started.lab.faults.add(delay);
  await assert.rejects(
    async () => {
      for await (const _ of vms) setTimeout(() => controller.abort(reason), 50);
    },
    (error) => error === reason,
  );
  assert.equal(called(started, "CancelRetrievePropertiesEx"), 2);
  assert.equal(called(started, "CreateContainerView"), called(started, "DestroyView"));
});

describe("machines that cannot be read, and places of all kinds", () => {
  let started: LabClient;
  before(async () => {
    started = await startLabClient({
      vms: [
        { name: "plain", folder: "Production", disks: [disk] },
        { name: "slash/back 100%", folder: "Production/Übersee 東京", disks: [disk] },
        { name: "shop-db", folder: "Production", vApp: "shop", disks: [disk] },
        { name: "outside", disks: [disk] },
        { name: "lost", folder: "States", connectionState: "inaccessible", disks: [disk] },
        { name: "broken", folder: "States", connectionState: "invalid", disks: [disk] },
        { name: "orphan", folder: "States", connectionState: "orphaned", disks: [disk] },
        { name: "hidden", folder: "States", disks: [disk] },
      ],
    });
    started.lab.faults.add({ name: "propertyMissing", vm: "hidden", value: "config." });
  });
  after(async () => await started?.[Symbol.asyncDispose]());

  test("one that cannot be read is told with what is known of it, and with why", async () => {
    const vms = await listed(started.client, "/Datacenter/vm/States");
    const told = vms.map(({ path, connectionState, facts }) => [
      path,
      connectionState,
      facts instanceof MigratekitError ? facts.code : facts.connectionState,
    ]);
    assert.deepEqual(told.sort(), [
      ["/Datacenter/vm/States/broken", "invalid", "vm-unsuitable"],
      ["/Datacenter/vm/States/hidden", "connected", "vsphere-permission"],
      ["/Datacenter/vm/States/lost", "inaccessible", "vm-unsuitable"],
      ["/Datacenter/vm/States/orphan", "orphaned", "orphaned"],
    ]);
    for (const name of ["hidden", "lost"]) {
      const { facts } = vms.find((vm) => vm.name === name)!;
      assert.ok(facts instanceof MigratekitError);
      const { message } = facts;
      await assert.rejects(started.client.readVm(started.lab.vm(name).moref), { message });
    }
  });

  const below = {
    "/Datacenter/vm/Production": ["plain", "shop-db", "slash%2fback 100%25"],
    "/Datacenter/vm/Production/": ["plain", "shop-db", "slash%2fback 100%25"],
    "Datacenter/vm/Production": ["plain", "shop-db", "slash%2fback 100%25"],
    "/Datacenter/vm/Production/shop": ["shop-db"],
    "/Datacenter/vm/Production/Übersee 東京": ["slash%2fback 100%25"],
    "/Datacenter/vm/Production/shop/shop-db": ["shop-db"],
    "/Datacenter/vm/Production/Übersee 東京/slash%2Fback 100%": ["slash%2fback 100%25"],
  };
  for (const [path, names] of Object.entries(below))
    test(`below ${path} there are ${names.length}`, async () => {
      for (const spelling of [path, path.normalize("NFD")]) {
        const vms = await listed(started.client, spelling);
        assert.deepEqual(vms.map(({ name }) => name).sort(), names);
      }
    });

  test("below a datacenter, or / , there are all", async () => {
    for (const path of ["/Datacenter", "/Datacenter/vm", "/", undefined])
      assert.deepEqual(pathsOf(await listed(started.client, path)), allPaths(started));
  });

  test("a path that is nowhere is told with what comes close, places and machines", async () => {
    await assert.rejects(listed(started.client, "/Datacenter/vm/Produktion"), (error) => {
      assert.ok(error instanceof MigratekitError);
      assert.equal(error.code, "vm-not-found");
      assert.match(error.message, /no folder, datacenter, vApp or virtual machine/);
      assert.match(error.message, /"\/Datacenter\/vm\/Production"/);
      return true;
    });
    await assert.rejects(listed(started.client, "/Datacenter/vm/outsid"), /vm\/outside"/);
    await assert.rejects(
      listed(started.client, "/QQQQQQ/QQQQQQQQQQQQ"),
      /nothing that this account sees has a similar name/,
    );
  });
});

test("an ESXi host's machines are listed, by paths with and without its one datacenter", async () => {
  await using started = await startLabClient({ vms: many(2), apiType: "HostAgent" });
  for (const path of [undefined, "/ha-datacenter/vm", "/vm", "/ha-datacenter"])
    assert.equal((await listed(started.client, path)).length, 2, path);
  assert.equal((await listed(started.client, "/ha-datacenter/vm/Folder 0/vm0")).length, 1);
});
