/** Sessions that expire, a vCenter that restarts, connections that break: a run goes on. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { FaultRequest } from "../../lab/vcenter/fault-board.ts";
import { type LabClient, startLabClient } from "../lab-client.ts";

const vms = [{ name: "vm", disks: [{ capacityBytes: 1_048_576 }] }];

function logins(started: LabClient): number {
  return started.lab.log.methods().filter((method) => method === "Login").length;
}

test("an expired session is renewed once and the call repeated", async () => {
  await using started = await startLabClient({ vms });
  const { moref, path } = started.lab.vm("vm");
  for (const call of [
    () => started.client.readVm(moref),
    () => started.client.findVm(path),
    () => started.client.snapshotTree(moref),
    () => started.client.missingPrivileges(moref, ["VirtualMachine.State.CreateSnapshot"]),
  ]) {
    const before = logins(started);
    started.lab.faults.add({ name: "expireSessions", count: 1 });
    await call();
    assert.equal(logins(started), before + 1);
  }
});

test("many calls that find the session expired share one login", async () => {
  await using started = await startLabClient({ vms });
  const { moref } = started.lab.vm("vm");
  started.lab.faults.add({ name: "expireSessions", count: 1 });
  await Promise.all(Array.from({ length: 8 }, () => started.client.readVm(moref)));
  assert.equal(logins(started), 2);
});

test("a listing whose session expires between two pages is begun again", async () => {
  const many = Array.from({ length: 600 }, (_, index) => ({ name: `vm ${index}`, disks: [] }));
  await using started = await startLabClient({ vms: many });
  started.lab.faults.add({
    name: "expireSessions",
    method: "ContinueRetrievePropertiesEx",
    count: 1,
  });
  await assert.rejects(
    started.client.findVm("/Datacenter/vm/VM 599"),
    /"\/Datacenter\/vm\/vm 599"/,
  );
});

test("a session that expires at every call is given up, not renewed for ever", async () => {
  await using started = await startLabClient({ vms });
  started.lab.faults.add({ name: "expireSessions", method: "RetrievePropertiesEx" });
  await assert.rejects(
    started.client.readPowerState(started.lab.vm("vm").moref),
    /NotAuthenticated/,
  );
  assert.equal(logins(started), 2);
});

test("an idle session is kept alive by calls of its own", async () => {
  await using started = await startLabClient({ vms }, { keepAliveMs: 20 });
  const kept = () => started.lab.log.methods().filter((method) => method === "CurrentTime").length;
  while (kept() < 5) await sleep(20);
  assert.equal(logins(started), 1);
  started.lab.faults.add({ name: "expireSessions", count: 1 });
  while (logins(started) < 2) await sleep(20); // a lost session is noticed before anybody needs it
});

describe("a read goes on through", { concurrency: 6 }, () => {
  const troubles: [string, FaultRequest][] = [
    ["connections that are cut", { name: "cutConnection", count: 3 }],
    ["a proxy that says 503", { name: "http503Html", count: 3 }],
    ["two answers that are cut off", { name: "truncatedAnswer", count: 2 }],
    ["two answers that are empty", { name: "emptyAnswer", count: 2 }],
  ];
  for (const [title, fault] of troubles)
    test(title, async () => {
      await using started = await startLabClient({ vms });
      started.lab.faults.add(fault);
      assert.equal(await started.client.readPowerState(started.lab.vm("vm").moref), "poweredOn");
      assert.deepEqual(started.lab.faults.list(), []);
    });

  test("a restart of vCenter, which takes the sessions along", async () => {
    await using started = await startLabClient({ vms });
    const back = started.lab.refuseConnections(800);
    assert.equal(await started.client.readPowerState(started.lab.vm("vm").moref), "poweredOn");
    await back;
    assert.equal(logins(started), 2);
    assert.match(started.warnings.join("\n"), /does not answer/);
  });
});

test("an outage is endured only as long as allowed, and an abort ends the wait at once", async () => {
  await using started = await startLabClient({ vms });
  const { moref } = started.lab.vm("vm");
  await using impatient = await started.connect({ outageMs: 300 });
  const controller = new AbortController();
  const query = {
    vmMoref: moref,
    snapshotMoref: "snapshot-1",
    deviceKey: 2000,
    changeId: "*",
    capacityBytes: 512,
  };
  const back = started.lab.refuseConnections(3_000);
  await assert.rejects(impatient.readPowerState(moref), { code: "vsphere-unreachable" });
  const waiting = Array.fromAsync(
    started.client.changedAreas({ ...query, signal: controller.signal }),
  );
  const reason = new Error("stop");
  controller.abort(reason);
  await assert.rejects(waiting, (error) => error === reason);
  await back;
});

test("closing logs out, may be done twice, and does not mind a vCenter that is gone", async () => {
  await using started = await startLabClient({ vms });
  const client = await started.connect();
  await client.close();
  await client.close();
  assert.equal(started.lab.log.methods().filter((method) => method === "Logout").length, 1);

  const orphan = await started.connect();
  const back = started.lab.refuseConnections(500);
  await orphan.close();
  await back;
});

test("connections are kept and used again", async () => {
  await using started = await startLabClient({ vms });
  const before = started.lab.connections;
  for (let call = 0; call < 10; call++)
    await started.client.readPowerState(started.lab.vm("vm").moref);
  assert.equal(started.lab.connections, before);
});
