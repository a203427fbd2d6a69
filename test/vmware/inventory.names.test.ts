/** Machines are found by the paths that people and vCenter write. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { MigratekitError } from "../../src/errors.ts";
import { nearest } from "../../src/vmware/inventory/similar-names.ts";
import { type LabClient, startLabClient } from "./lab-client.ts";

const names = [
  "plain",
  "with spaces  inside",
  "slash/back\\slash and 100%",
  `quotes ' " and <&>`,
  "brackets [a] (b), commas",
  "Übergrößenträger 東京 🚚",
  "two\nlines",
  "x".repeat(80),
  "%2f written by hand",
];

describe("machines with awkward names", () => {
  let started: LabClient;
  before(async () => {
    const disks = [{ capacityBytes: 1_048_576 }];
    started = await startLabClient({
      vms: names.map((name, index) => ({ name, disks, folder: index % 2 ? "Deep/er" : "" })),
      objectsPerPage: 4,
    });
  });
  after(async () => await started?.[Symbol.asyncDispose]());

  for (const name of names)
    test(`are found by their inventory path: ${JSON.stringify(name)}`, async () => {
      const vm = started.lab.vm(name);
      assert.equal(await started.client.findVm(vm.path), vm.moref);
    });

  test("are found whatever the case of the escapes and however Unicode is composed", async () => {
    const slashed = started.lab.vm("slash/back\\slash and 100%");
    const upper = "/Datacenter/vm/slash%2Fback%5Cslash and 100%25";
    assert.equal(await started.client.findVm(upper), slashed.moref);
    assert.equal(
      await started.client.findVm(upper.replace(/%../g, (code) => code.toLowerCase())),
      slashed.moref,
    );
    assert.equal(
      await started.client.findVm("/Datacenter/vm/slash%2fback%5cslash and 100%"),
      slashed.moref,
    );
    const unicode = started.lab.vm("Übergrößenträger 東京 🚚");
    assert.equal(await started.client.findVm(unicode.path.normalize("NFD")), unicode.moref);
  });

  test("come back from readVm under the inventory's name", async () => {
    const vm = await started.client.readVm(started.lab.vm("two\nlines").moref);
    assert.equal(vm.name, "two\nlines");
  });

  test("are listed on one line, ready to paste, when the path is nearly right", async () => {
    const cases: [string, string][] = [
      ["/Datacenter/vm/plane", "/Datacenter/vm/plain"],
      ["/Datacenter/vm/PLAIN", "/Datacenter/vm/plain"],
      ["/Elsewhere/vm/Deep/plain", "/Datacenter/vm/plain"],
      ["/Datacenter/vm/with spaces inside", "/Datacenter/vm/Deep/er/with spaces  inside"],
      ["/Datacenter/vm/two lines", "/Datacenter/vm/two\nlines"],
      ["plain", "/Datacenter/vm/plain"],
    ];
    for (const [wanted, expected] of cases)
      await assert.rejects(started.client.findVm(wanted), (error) => {
        assert.ok(error instanceof MigratekitError);
        assert.equal(error.code, "vm-not-found");
        assert.ok(error.message.includes(JSON.stringify(expected)), error.message);
        assert.doesNotMatch(error.message, /\n/);
        return true;
      });
  });

  test("are not offered when nothing is similar", async () => {
    const lookup = started.client.findVm("/Datacenter/vm/QQQQQQQQQQ");
    await assert.rejects(lookup, /none of the 9 virtual machines/);
  });
});

test("an ESXi host's machines are found with and without its one datacenter", async () => {
  await using started = await startLabClient({ apiType: "HostAgent" });
  const { client, lab } = started;
  assert.equal(client.about.apiType, "HostAgent");
  const vm = lab.vm("MyVM");
  for (const path of ["/ha-datacenter/vm/MyVM", "ha-datacenter/vm/MyVM", "/vm/MyVM", "MyVM"])
    assert.equal(await client.findVm(path), vm.moref);
  await assert.rejects(client.findVm("/Datacenter/vm/MyVM"), /"\/ha-datacenter\/vm\/MyVM"/);
  assert.equal((await client.readVm(vm.moref)).instanceUuid, vm.record.instanceUuid);
});

test("the nearest names come first, the same last name before any other, five at most", () => {
  const paths = [
    "/A/vm/web1",
    "/A/vm/web2",
    "/B/vm/x/web11",
    "/A/vm/db",
    "/A/vm/web3",
    "/A/vm/web4",
    "/A/vm/web5",
    "/A/vm/w",
  ];
  assert.deepEqual(nearest("/B/vm/web2", paths, 3), ["/A/vm/web2", "/A/vm/web1", "/A/vm/web3"]);
  assert.equal(nearest("/A/vm/web9", paths, 5).length, 5);
  assert.deepEqual(nearest("/A/vm/zzzz", paths, 5), []);
  assert.deepEqual(nearest("", ["/"], 5), ["/"]);
});
