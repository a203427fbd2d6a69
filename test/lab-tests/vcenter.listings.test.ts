/** Lists of machines as a vCenter gives them: in pages, while the inventory changes, with what cannot be read. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { startVcenter } from "../lab/vcenter/vcenter.ts";
import type { XmlElement } from "../lab/vcenter/xml.ts";
import { RawVimClient } from "./raw-vim-client.ts";
import { post, startTestLab } from "./vcenter-lab.ts";

const collector = "PropertyCollector:propertyCollector";
const root = "Folder:group-d1";
const small = [{ capacityBytes: 512 }];
const many = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ name: `vm${index}`, disks: small, paper: true }));

async function createView(client: RawVimClient, container: string): Promise<string> {
  const [type, moref] = container.split(":");
  const inner = `<container type="${type}">${moref}</container><type>VirtualMachine</type><type>VirtualApp</type><recursive>true</recursive>`;
  const [view] = await client.call("CreateContainerView", "ViewManager:ViewManager", inner);
  return `ContainerView:${view!.text}`;
}

/** One RetrievePropertiesEx over what `path` of an object leads to. */
async function firstPage(
  client: RawVimClient,
  from: string,
  { path = "view", maxObjects = 10, properties = ["name"] } = {},
): Promise<Page> {
  const [type, moref] = from.split(":");
  const paths = properties.map((each) => `<pathSet>${each}</pathSet>`).join("");
  const traversal = `<selectSet xsi:type="TraversalSpec"><type>${type}</type><path>${path}</path><skip>false</skip></selectSet>`;
  const spec =
    `<specSet><propSet><type>ManagedEntity</type>${paths}</propSet>` +
    `<objectSet><obj type="${type}">${moref}</obj><skip>true</skip>${traversal}</objectSet></specSet>`;
  const options = `<options><maxObjects>${maxObjects}</maxObjects></options>`;
  return new Page(await client.call("RetrievePropertiesEx", collector, spec + options));
}

async function nextPage(client: RawVimClient, token: string | undefined): Promise<Page> {
  const inner = `<token>${token}</token>`;
  return new Page(await client.call("ContinueRetrievePropertiesEx", collector, inner));
}

class Page {
  readonly objects: readonly XmlElement[];
  readonly token: string | undefined;

  constructor(answer: readonly XmlElement[]) {
    const children = answer[0]?.children ?? [];
    this.objects = children.filter(({ name }) => name === "objects");
    this.token = children.find(({ name }) => name === "token")?.text;
  }

  get names(): string[] {
    return this.objects.map((object) => valueAt(object, "name")?.text ?? "");
  }
}

function valueAt(object: XmlElement, property: string): XmlElement | undefined {
  const sets = object.children.filter(({ name }) => name === "propSet");
  return sets.find(({ children }) => children[0]!.text === property)?.children[1];
}

async function pagesOf(client: RawVimClient, container: string, maxObjects = 10): Promise<Page[]> {
  const pages = [await firstPage(client, await createView(client, container), { maxObjects })];
  while (pages.at(-1)!.token !== undefined) pages.push(await nextPage(client, pages.at(-1)!.token));
  return pages;
}

const sizesOf = (pages: readonly Page[]) => pages.map(({ objects }) => objects.length);
const namesOf = (pages: readonly Page[]) => pages.flatMap(({ names }) => names).sort();
const expected = (count: number) =>
  many(count)
    .map(({ name }) => name)
    .sort();

test("a container view is retrieved in pages of what was asked for, or of what the server likes", async () => {
  await using lab = await startTestLab({ vms: many(25) });
  assert.deepEqual(sizesOf(await pagesOf(lab.client, root)), [10, 10, 5]);
  await using strict = await startTestLab({ vms: many(25), objectsPerPage: 9 });
  const pages = await pagesOf(strict.client, root);
  assert.deepEqual(sizesOf(pages), [9, 9, 7]);
  assert.deepEqual(namesOf(pages), expected(25));
  const view = await createView(lab.client, root);
  await assert.rejects(firstPage(lab.client, view, { maxObjects: 0 }), /InvalidArgument/);
});

test("short pages leave nothing out and repeat nothing", async () => {
  await using lab = await startTestLab({ vms: many(60) });
  lab.vcenter.faults.add({ name: "shortPages" });
  const pages = await pagesOf(lab.client, root);
  assert.deepEqual(namesOf(pages), expected(60));
  assert.ok(
    sizesOf(pages)
      .slice(0, -1)
      .some((size) => size < 10),
    `${sizesOf(pages)}`,
  );
});

test("a machine that vanishes between two pages is on none that comes later", async () => {
  await using lab = await startTestLab({ vms: many(25) });
  lab.vcenter.faults.add({ name: "vmVanishes", vm: "vm24", count: 1 });
  const pages = await pagesOf(lab.client, root);
  assert.deepEqual(sizesOf(pages), [10, 10, 4]);
  assert.ok(!namesOf(pages).includes("vm24"));
  assert.throws(() => lab.vcenter.vm("vm24"), /no VM vm24/);
  await post(lab.vcenter, "/vm/remove", { vm: "vm0" });
  assert.equal(namesOf(await pagesOf(lab.client, root)).length, 23);
});

test("a page is given again for its token, until the next one is asked for, and in its session alone", async () => {
  await using lab = await startTestLab({ vms: many(40) });
  const { client, vcenter } = lab;
  const first = await firstPage(client, await createView(client, root));
  const second = await nextPage(client, first.token);
  assert.deepEqual((await nextPage(client, first.token)).names, second.names);
  const third = await nextPage(client, second.token);
  await assert.rejects(nextPage(client, first.token), /InvalidArgument: .*token/);
  const other = new RawVimClient(vcenter.endpoint);
  await other.login(vcenter.username, vcenter.password);
  await assert.rejects(nextPage(other, third.token), /InvalidArgument: .*token/);
  await client.call("CancelRetrievePropertiesEx", collector, `<token>${third.token}</token>`);
  await assert.rejects(nextPage(client, third.token), /InvalidArgument: .*token/);
});

const missingOf = (object: XmlElement) =>
  object.children
    .filter(({ name }) => name === "missingSet")
    .map(({ children: [path, fault] }) => [
      path!.text,
      fault!.children[0]!.attributes.get(":type"),
    ]);

test("what an account may not read of one machine is reported missing, and the others are told", async () => {
  await using lab = await startTestLab({ vms: many(2) });
  const properties = ["name", "config.version", "config.hardware.numCPU", "runtime.powerState"];
  lab.vcenter.faults.add({ name: "propertyMissing", vm: "vm1", value: "config." });
  const view = await createView(lab.client, root);
  const [vm0, vm1] = (await firstPage(lab.client, view, { properties })).objects;
  assert.deepEqual(missingOf(vm0!), []);
  assert.equal(valueAt(vm0!, "config.version")?.text, "vmx-19");
  assert.deepEqual(missingOf(vm1!), [
    ["config.version", "NoPermission"],
    ["config.hardware.numCPU", "NoPermission"],
  ]);
  assert.equal(valueAt(vm1!, "runtime.powerState")?.text, "poweredOn");
  lab.vcenter.faults.clear();
  const fault = { type: "SystemError", text: "A general system error occurred" };
  lab.vcenter.faults.add({ name: "propertyMissing", vm: "vm0", value: "name", fault, count: 1 });
  const again = (await firstPage(lab.client, view, { properties })).objects;
  assert.deepEqual(again.map(missingOf), [[["name", "SystemError"]], []]);
});

test("of an inaccessible or invalid machine there is no configuration; of an orphaned one there is", async () => {
  const states = ["inaccessible", "invalid", "orphaned"] as const;
  const vms = states.map((connectionState) => ({
    ...{ name: connectionState, disks: small, connectionState },
  }));
  await using lab = await startTestLab({ vms });
  const properties = ["name", "config", "runtime.connectionState"];
  const { objects } = await firstPage(lab.client, await createView(lab.client, root), {
    properties,
  });
  const seen = objects.map((object) => [
    valueAt(object, "runtime.connectionState")?.text,
    valueAt(object, "config") !== undefined,
  ]);
  assert.deepEqual(seen, [
    ["inaccessible", false],
    ["invalid", false],
    ["orphaned", true],
  ]);
  await post(lab.vcenter, "/vm/set", { vm: "orphaned", connectionState: "invalid" });
  assert.equal(lab.vcenter.vm("orphaned").record.connectionState, "invalid");
});

test("a machine in a vApp has no folder, and a view over its folder stops at the vApp", async () => {
  await using lab = await startTestLab({
    vms: [
      { name: "shop-db", folder: "Shop", vApp: "shop", disks: small },
      { name: "plain", folder: "Shop", disks: small },
    ],
  });
  const { client, vcenter } = lab;
  const { moref, path } = vcenter.vm("shop-db");
  const vApp = `VirtualApp:${(await client.property(`VirtualMachine:${moref}`, "parentVApp"))!.text}`;
  assert.equal(path, "/Datacenter/vm/Shop/shop/shop-db");
  assert.equal(await client.property(`VirtualMachine:${moref}`, "parent"), undefined);
  const folder = `Folder:${(await client.property(vApp, "parentFolder"))!.text}`;
  assert.equal((await client.property(folder, "name"))?.text, "Shop");
  assert.equal((await client.property(vApp, "parent"))?.attributes.get("type"), "ResourcePool");
  assert.deepEqual(namesOf(await pagesOf(client, folder)), ["plain", "shop"]);
  assert.deepEqual(namesOf(await pagesOf(client, root)), ["plain", "shop", "shop-db"]);
  assert.deepEqual(namesOf(await pagesOf(client, vApp)), ["shop-db"]);
  assert.deepEqual((await firstPage(client, vApp, { path: "vm" })).names, ["shop-db"]);
  const inner = `<inventoryPath>${path}</inventoryPath>`;
  const found = await client.call("FindByInventoryPath", "SearchIndex:SearchIndex", inner);
  assert.equal(found[0]?.text, moref);
});

test("a folder that an account does not see is in no view, and what is in it still is", async () => {
  await using lab = await startTestLab({ vms: [{ name: "vm", folder: "Secret", disks: small }] });
  lab.vcenter.faults.add({ name: "folderHidden", value: "Secret" });
  const inner = `<container type="Folder">group-d1</container><type>Folder</type><type>VirtualMachine</type><recursive>true</recursive>`;
  const [view] = await lab.client.call("CreateContainerView", "ViewManager:ViewManager", inner);
  const { names } = await firstPage(lab.client, `ContainerView:${view!.text}`);
  assert.ok(names.includes("vm") && !names.includes("Secret"), `${names}`);
});

test("disks are at the controllers that their keys belong to", async () => {
  const keys = [2000, 2017, 3001, 16_031, 32_001];
  const disks = keys.map((key) => ({ key, capacityBytes: 512 }));
  await using lab = await startTestLab({ vms: [{ name: "vm", scsi: "lsisas", disks }] });
  const self = `VirtualMachine:${lab.vcenter.vm("vm").moref}`;
  const devices = (await lab.client.property(self, "config.hardware.device"))!.children;
  const field = (device: XmlElement, name: string) =>
    device.children.find((child) => child.name === name)?.text;
  const typeOf = new Map(
    devices.map((device) => [field(device, "key"), device.attributes.get(":type")]),
  );
  const seen = devices
    .filter((device) => device.attributes.get(":type") === "VirtualDisk")
    .map((device) => [
      ...[field(device, "key"), typeOf.get(field(device, "controllerKey"))],
      ...[field(device, "controllerKey"), field(device, "unitNumber")],
    ]);
  assert.deepEqual(seen, [
    ["2000", "VirtualLsiLogicSASController", "1000", "0"],
    ["2017", "VirtualLsiLogicSASController", "1001", "1"],
    ["3001", "VirtualIDEController", "200", "1"],
    ["16031", "VirtualAHCIController", "15001", "1"],
    ["32001", "VirtualNVMEController", "31000", "1"],
  ]);
});

test("a machine of paper has disks without images, also after a restart", async () => {
  await using lab = await startTestLab({ vms: many(1) });
  const self = `VirtualMachine:${lab.vcenter.vm("vm0").moref}`;
  assert.deepEqual([...(await lab.client.changeIds(self)).keys()], [2000]);
  assert.deepEqual(lab.vcenter.vm("vm0").disks, []);
  await lab.vcenter.stop();
  await using again = await startVcenter({ labDir: lab.vcenter.labDir });
  assert.equal(again.vm("vm0").record.disks.length, 1);
});
