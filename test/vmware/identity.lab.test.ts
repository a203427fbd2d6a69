/** By what an endpoint and a machine are known, whatever they are called. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { startVcenter } from "../lab/vcenter/vcenter.ts";
import { startLabClient } from "./lab-client.ts";

const vms = [{ name: "vm", folder: "Old", disks: [{ capacityBytes: 1_048_576 }] }];

test("a vCenter tells its instance UUID, under every address and after a restart of its service", async () => {
  await using started = await startLabClient({ vms });
  const { uuid } = started.client;
  assert.match(uuid ?? "", /^[0-9a-f]{8}-[0-9a-f]{4}-/);
  assert.equal(uuid, started.client.about.instanceUuid);
  await using other = await started.connect({ host: "localhost" });
  assert.equal(other.uuid, uuid);
});

test("the laboratory's vCenter keeps its UUID when it is taken up again", async (t) => {
  const labDir = mkdtempSync(join(tmpdir(), "migratekit-vmware-"));
  t.after(() => rmSync(labDir, { recursive: true, force: true }));
  const uuids: unknown[] = [];
  for (let time = 0; time < 2; time++) {
    await using lab = await startVcenter({ labDir, vms });
    uuids.push(lab.instanceUuid);
  }
  assert.equal(uuids[0], uuids[1]);
  assert.equal(typeof uuids[0], "string");
});

test("an ESXi host tells the UUID of its hardware, or none", async () => {
  await using started = await startLabClient({ apiType: "HostAgent", vms });
  const host = started.lab.inventory.hosts[0]!;
  assert.equal(started.client.about.instanceUuid, "");
  assert.equal(started.client.uuid, host.uuid);
  for (const uuid of ["00000000-0000-0000-0000-000000000000", ""]) {
    host.uuid = uuid;
    await using again = await started.connect();
    assert.equal(again.uuid, undefined);
  }
});

test("a machine is found by its instance UUID when it was renamed and moved", async () => {
  for (const apiType of ["VirtualCenter", "HostAgent"] as const) {
    await using started = await startLabClient({ apiType, vms });
    const { record, moref } = started.lab.vm("vm");
    started.lab.renameVm(started.lab.vm("vm"), { name: "new/name", folder: "Other/Place" });
    const found = await started.client.findVmByUuid(record.instanceUuid);
    assert.equal(found, moref);
    assert.match((await started.client.readVmPath(moref)) ?? "", /\/vm\/Other\/Place\/new%2fname$/);
    assert.equal(await started.client.findVmByUuid(crypto.randomUUID()), undefined);
  }
});
