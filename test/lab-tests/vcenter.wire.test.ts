import assert from "node:assert/strict";
import { test } from "node:test";
import { parseXml } from "../lab/vcenter/xml.ts";
import { RawVimClient } from "./raw-vim-client.ts";
import { startTestLab } from "./vcenter-lab.ts";

const vms = [
  { name: "MyVM", disks: [{ capacityBytes: 1_048_576 + 512 }] },
  { name: "a/b%<&>\\", folder: "Folder/Nested", disks: [{ capacityBytes: 1_048_576 }] },
];
const searchIndex = "SearchIndex:SearchIndex";
const collector = "PropertyCollector:propertyCollector";

test("a session comes with the login and ends with the logout", async () => {
  await using lab = await startTestLab({ vms });
  const client = new RawVimClient(lab.vcenter.endpoint);
  const content = await client.call("RetrieveServiceContent", "ServiceInstance:ServiceInstance");
  assert.equal(content[0]!.children.find((c) => c.name === "rootFolder")!.text, "group-d1");
  const refused = await client.send("CurrentTime", "ServiceInstance:ServiceInstance");
  assert.equal(refused.status, 500);
  assert.match(refused.body, /<faultcode>ServerFaultCode<\/faultcode>/);
  assert.match(refused.body, /<faultstring>The session is not authenticated\.<\/faultstring>/);
  assert.match(
    refused.body,
    /<NotAuthenticatedFault xmlns="urn:vim25" xsi:type="NotAuthenticated">/,
  );
  await assert.rejects(client.login(lab.vcenter.username, "wrong"), /^Error: InvalidLogin: Cannot/);
  assert.equal(client.cookie, undefined);
  await client.login(lab.vcenter.username, lab.vcenter.password);
  assert.match(client.cookie!, /^vmware_soap_session="[0-9a-f]{40}"$/);
  await client.call("CurrentTime", "ServiceInstance:ServiceInstance");
  await client.call("Logout", "SessionManager:SessionManager");
  client.cookie = lab.client.cookie;
  await lab.client.call("CurrentTime", "ServiceInstance:ServiceInstance");
});

test("without a session properties are reported missing, each with its fault", async () => {
  await using lab = await startTestLab({ vms });
  const client = new RawVimClient(lab.vcenter.endpoint);
  const vm = lab.vcenter.vm("MyVM").moref;
  const answer = await client.send("RetrieveProperties", collector, filterFor(vm, "name"));
  assert.equal(answer.status, 200);
  assert.match(
    answer.body,
    /<missingSet><path>name<\/path><fault><fault xsi:type="NotAuthenticated">/,
  );
});

test("requests out of schema order, with unknown or missing elements are refused", async () => {
  await using lab = await startTestLab({ vms });
  const vm = `VirtualMachine:${lab.vcenter.vm("MyVM").moref}`;
  const { client } = lab;
  const right = "<name>n</name><memory>false</memory><quiesce>false</quiesce>";
  const wrong: [string, RegExp][] = [
    [
      "<memory>false</memory><name>n</name><quiesce>false</quiesce>",
      /InvalidRequest: Required property name/,
    ],
    ["<name>n</name><quiesce>false</quiesce><memory>false</memory>", /Required property memory/],
    [`${right}<extra>1</extra>`, /Unexpected element tag "extra" seen/],
    ["<name>n</name><memory>perhaps</memory><quiesce>false</quiesce>", /no boolean/],
  ];
  for (const [inner, expected] of wrong) {
    await assert.rejects(client.call("CreateSnapshot_Task", vm, inner), expected);
  }
  await assert.rejects(client.call("NoSuchMethod", vm), /Unable to resolve WSDL method/);
  await assert.rejects(client.call("CreateSnapshot_Task", collector, right), /MethodNotFound/);
  client.action = "";
  await assert.rejects(client.call("CreateSnapshot_Task", vm, right), /Unsupported version URI/);
  assert.deepEqual(lab.vcenter.vm("MyVM").snapshots, []);
});

test("inventory paths lead to folders and machines, with names escaped as in the inventory", async () => {
  await using lab = await startTestLab({ vms });
  const odd = lab.vcenter.vm("a/b%<&>\\");
  assert.equal(odd.path, "/Datacenter/vm/Folder/Nested/a%2fb%25<&>%5c");
  const find = async (path: string) => {
    const escaped = path.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
    const inner = `<inventoryPath>${escaped}</inventoryPath>`;
    return (await lab.client.call("FindByInventoryPath", searchIndex, inner))[0]?.text;
  };
  assert.equal(await find(odd.path), odd.moref);
  assert.equal(await find(odd.path.replace("%2f", "%2F").slice(1)), odd.moref);
  assert.equal(await find("Datacenter/vm/MyVM/"), lab.vcenter.vm("MyVM").moref);
  assert.equal(await find("/Datacenter/vm"), "group-v3");
  assert.equal(await find("/Datacenter/vm/Folder/MyVM"), undefined);
  const name = await lab.client.property(`VirtualMachine:${odd.moref}`, "name");
  assert.equal(name?.text, "a%2fb%25<&>%5c");
});

test("a property that does not exist is a fault and one that is unset is left out", async () => {
  await using lab = await startTestLab({ vms });
  const vm = `VirtualMachine:${lab.vcenter.vm("MyVM").moref}`;
  await assert.rejects(
    lab.client.property(vm, "config.changeTrackingEnabld"),
    /InvalidProperty: The property config\.changeTrackingEnabld could not be found/,
  );
  assert.equal(await lab.client.property(vm, "snapshot"), undefined);
  const device = await lab.client.property(vm, "config.hardware.device[2000]");
  assert.equal(device?.attributes.get(":type"), "VirtualDisk");
  const capacity = device?.children.find((child) => child.name === "capacityInBytes");
  assert.equal(capacity?.text, String(1_048_576 + 512));
  await assert.rejects(
    lab.client.property("VirtualMachine:vm-1", "name"),
    /ManagedObjectNotFound: The object 'vim\.VirtualMachine:vm-1' has already been deleted/,
  );
});

test("an account without a privilege is told which one, and can ask beforehand", async () => {
  await using lab = await startTestLab({
    vms,
    users: [
      {
        username: "backup",
        password: "p",
        missingPrivileges: ["VirtualMachine.State.CreateSnapshot"],
      },
    ],
  });
  const client = new RawVimClient(lab.vcenter.endpoint);
  await client.login("backup", "p");
  const vm = lab.vcenter.vm("MyVM").moref;
  const refused = await client.send(
    "CreateSnapshot_Task",
    `VirtualMachine:${vm}`,
    "<name>n</name><memory>false</memory><quiesce>false</quiesce>",
  );
  assert.match(refused.body, /xsi:type="NoPermission"><object type="VirtualMachine">/);
  assert.match(refused.body, /<privilegeId>VirtualMachine\.State\.CreateSnapshot</);
  const granted = await client.call(
    "FetchUserPrivilegeOnEntities",
    "AuthorizationManager:AuthorizationManager",
    `<entities type="VirtualMachine">${vm}</entities><userName>backup</userName>`,
  );
  const names = granted[0]!.children.map((child) => child.text);
  assert.ok(names.includes("VirtualMachine.State.RemoveSnapshot"));
  assert.ok(!names.includes("VirtualMachine.State.CreateSnapshot"));
});

test("an ESXi host has its own names and no folders", async () => {
  await using lab = await startTestLab({ vms: [vms[0]!], apiType: "HostAgent" });
  const { client, vcenter } = lab;
  const content = await client.call("RetrieveServiceContent", "ServiceInstance:ServiceInstance");
  const about = content[0]!.children.find((child) => child.name === "about")!;
  assert.equal(about.children.find((child) => child.name === "apiType")!.text, "HostAgent");
  const inner = "<inventoryPath>ha-datacenter/vm/MyVM</inventoryPath>";
  const found = await client.call("FindByInventoryPath", "SearchIndex:ha-searchindex", inner);
  assert.equal(found[0]!.text, vcenter.vm("MyVM").moref);
  assert.match(found[0]!.text, /^\d+$/);
});

test("the reader refuses documents that are not well-formed", () => {
  const bad = [
    "",
    "<a>",
    "<a></b>",
    "<a/><b/>",
    "<a>&nosuch;</a>",
    "<!DOCTYPE a><a/>",
    "x<a/>",
    "<a b=c/>",
  ];
  for (const document of bad) assert.throws(() => parseXml(document), { name: "XmlSyntaxError" });
  const read = parseXml(
    '<?xml version="1.0"?><!-- x --><p:a x="1&amp;2"><![CDATA[<&]]>&#x41;</p:a>',
  );
  assert.deepEqual([read.name, read.text, read.attributes.get("x")], ["a", "<&A", "1&2"]);
});

function filterFor(vm: string, path: string): string {
  return (
    `<specSet><propSet><type>VirtualMachine</type><pathSet>${path}</pathSet></propSet>` +
    `<objectSet><obj type="VirtualMachine">${vm}</obj></objectSet></specSet>`
  );
}
