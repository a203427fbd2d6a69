// CloudStack volumes as targets, from nothing to an incremental: real engine, real NBD server, the lab's API.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import { usedCommands } from "../../src/cloudstack/commands.ts";
import { Relay } from "../lab/relay.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { RawClient } from "../lab-tests/cloudstack-client.ts";
import type { Summary } from "./migrate-checks.ts";
import { startVolumesLab, type VolumesLab } from "./volumes-lab.ts";

const mebibyte = 1 << 20;
const fill = { seed: 3, dataRatio: 0.6, zeroRatio: 0.1 };
const disk = { capacityBytes: 4 * mebibyte, fill };
const names = ["two01", "given01", "refused01", "lost01", "moved01", "looked01"];

let it: VolumesLab;
/** By migratekit; others sign without an expiry. */
const called = new Set<string>();
before(async () => {
  const second = { ...disk, capacityBytes: 5 * mebibyte + 512 };
  it = await startVolumesLab([
    ...names.map((name) => ({ name, disks: [disk, second] })),
    { name: "large01", disks: [{ capacityBytes: (1 << 30) + 512 }] },
  ]);
  it.cloud.onCall(({ command, signatureVersion }) => {
    if (signatureVersion === "3") called.add(command);
  });
});
after(async () => {
  await it[Symbol.asyncDispose]();
  // The manual's list of what the role has to allow is made of these.
  assert.deepEqual(
    [...called].filter((name) => usedCommands[name] === undefined),
    [],
  );
  assert.ok(called.has("listVolumes"));
});
beforeEach(() => {
  it.cloud.faults.clear();
  it.cloud.calls.clear();
});

const keysOf = (vm: LabVm) => vm.disks.map(({ record }) => record.key);

/** A volume made by another hand. */
const madeByHand = (account?: string) => new RawClient(it.cloud, account).volume("by hand");

test("each disk gets a volume of whole GiB, tagged and attached, and the next run takes the same", async () => {
  const vm = it.lab.vm("two01");
  const first = await it.run("migrate", vm);
  assert.equal(first.code, 0, first.stderr);
  assert.equal(first.json<Summary>().sync_type, "full");
  await it.assertEqual(vm);
  const made = it.cloud.volumes().filter(({ name }) => name.includes(vm.record.instanceUuid));
  assert.deepEqual(
    made.map(({ sizeBytes, instanceId }) => [sizeBytes, instanceId]),
    [
      [1 << 30, it.cloud.appliance.id],
      [1 << 30, it.cloud.appliance.id],
    ],
  );
  const [volume] = await new RawClient(it.cloud).list("listVolumes", { id: it.volumeOf(vm, 2000) });
  const tags = volume!.tags as { key: string; value: string }[];
  assert.ok(tags.some(({ key, value }) => key === "migratekit-vm" && value === "two01"));
  await vm.write(2001, mebibyte, Buffer.alloc(64 << 10, 9));
  it.cloud.calls.clear();
  const second = await it.run("migrate", vm);
  assert.equal(second.code, 0, second.stderr);
  assert.equal(second.json<Summary>().sync_type, "incremental");
  await it.assertEqual(vm);
  assert.deepEqual(it.cloud.calls.changes(), [], "nothing was made or attached again");
  const verified = await it.run("verify", vm);
  assert.equal(verified.code, 0, verified.stderr);
});

test("volumes that are given are marked, attached and written; the next run may name them again", async () => {
  const vm = it.lab.vm("given01");
  const ids = new Map<number, string>();
  for (const key of keysOf(vm)) ids.set(key, await madeByHand());
  const volumes = [...ids].map(([key, id]) => `${key}:${id}`).join(",");
  const run = await it.run("migrate", vm, { volumes });
  assert.equal(run.code, 0, run.stderr);
  await it.assertEqual(vm, ids);
  const again = await it.run("migrate", vm, { volumes });
  assert.equal(again.json<Summary>().sync_type, "incremental", again.stderr);
  // And, given no more, they are known to be this VM's.
  const known = await it.run("migrate", vm);
  assert.equal(known.json<Summary>().sync_type, "incremental", known.stderr);
});

test("a volume is one target for ownership and for incrementals, whatever port it is reached by", async () => {
  const [owner, other] = [it.lab.vm("given01"), it.lab.vm("refused01")];
  const [volume] = it.cloud.volumes().filter(({ name }) => name === "by hand");
  const run = await it.run("migrate", other, {
    volumes: `2000:${volume!.id},2001:${await madeByHand()}`,
  });
  assert.equal(run.code, 10, run.stderr);
  assert.match(run.stderr, /cannot be the target of disk-2000 .*: it was made for .*\/2000/);
  // As through a tunnel: another place that leads to the same server.
  await using tunnel = await Relay.start(it.exporter.port);
  const uri = `nbd://127.0.0.1:${tunnel.port}/${volume!.id}`;
  const byUri = await it.lab.migrate(other, {
    ...{ explicitTargets: true, extra: ["--nbd-targets", `2000:${uri}`, "--skip-disks", "2001"] },
  });
  assert.equal(byUri.code, 7, byUri.stderr);
  assert.match(byUri.stderr, new RegExp(`belongs to disk-2000 of ${owner.path}`));
  const through = await it.run("migrate", owner, { extra: ["--nbd-port", String(tunnel.port)] });
  assert.equal(through.json<Summary>().sync_type, "incremental", through.stderr);
});

test("what cannot be a disk's volume is refused by name before anything is made, attached or written", async () => {
  const vm = it.lab.vm("refused01");
  const client = new RawClient(it.cloud);
  const good = await madeByHand();
  const foreign = await madeByHand("other");
  const root = (await client.list("listVolumes", { virtualmachineid: it.cloud.appliance.id })).find(
    ({ deviceid }) => deviceid === 0,
  )!;
  it.cloud.calls.clear();
  for (const [volumes, code, message] of [
    [`2000:${good}`, 2, /has no volume for 1 disk: disk-2001/],
    [`2000:${good},2001:${good}`, 2, /disks 2000 and 2001 the same volume/],
    [`2000:${good},2001:${randomUUID()}`, 10, /disk-2001 .*: there is no volume/],
    [
      `2000:${good},2001:${foreign}`,
      10,
      /disk-2001 .*: there is no volume|belongs to account other/,
    ],
    [`2000:${good},2001:${root.id}`, 10, /it is the appliance's own root disk/],
    [`2000:${good},2001:${await madeByHand()},2009:${await madeByHand()}`, 2, /names disk 2009/],
  ] as const) {
    const run = await it.run("migrate", vm, { volumes });
    assert.equal(run.code, code, `${volumes}: ${run.stderr}`);
    assert.match(run.stderr, message);
  }
  const both = await it.run("migrate", vm, { extra: ["--nbd-targets", "2000:nbd://localhost/x"] });
  assert.equal(both.code, 2);
  assert.match(both.stderr, /--nbd-targets and --cloudstack-volumes both/);
  const changes = it.cloud.calls.changes().map(({ command }) => command);
  assert.deepEqual([...new Set(changes)], ["createVolume"], "but what this test made itself");
  assert.equal(it.cloud.volumes().find(({ id }) => id === good)!.instanceId, undefined);
});

test("a volume that is too small, and one of a managed pool, are refused before anything is attached", async () => {
  const large = it.lab.vm("large01");
  const small = await madeByHand();
  const run = await it.run("migrate", large, { volumes: `2000:${small}` });
  assert.equal(run.code, 5, run.stderr);
  assert.match(run.stderr, /cannot be the target of disk-2000 .*: it has 1\.0 GiB/);
  const looked = await it.run("check", large);
  assert.match(looked.stdout, /a run would make the volume migratekit-[^ ]+-disk-2000, 2 GiB/);
  // Pools are shown to administrators only.
  const admin = it.cloud.account("admin");
  const managed = await new RawClient(it.cloud).volume("managed", 1, "Managed Custom Disk");
  const client = new RawClient(it.cloud);
  await client.job("attachVolume", { id: managed, virtualmachineid: it.cloud.appliance.id });
  it.cloud.calls.clear();
  const cloudArgs = [
    ...["--cloudstack-endpoint", it.cloud.url, "--cloudstack-appliance", it.cloud.appliance.id],
    ...["--cloudstack-api-key", admin.apiKey, "--cloudstack-secret-key", admin.secretKey],
    ...["--cloudstack-account", "operator", "--cloudstack-domain", admin.domainId],
  ];
  const refused = await it.run("migrate", it.lab.vm("refused01"), {
    ...{ volumes: `2000:${managed}`, cloudArgs, extra: ["--skip-disks", "2001"] },
  });
  assert.equal(refused.code, 10, refused.stderr);
  assert.match(refused.stderr, /its pool solidfire-1 is a managed one/);
  assert.deepEqual(it.cloud.calls.changes(), []);
});

test("answers that are lost while volumes are made and attached leave one for each disk", async () => {
  const vm = it.lab.vm("lost01");
  for (const command of ["createVolume", "attachVolume", "createTags"])
    it.cloud.faults.add({ name: "lostAnswer", command, count: 2 });
  const run = await it.run("migrate", vm);
  assert.equal(run.code, 0, run.stderr);
  assert.deepEqual(it.cloud.faults.list(), []);
  await it.assertEqual(vm);
});

test("check says what a run would make, makes nothing, and looks at the exports that there are", async () => {
  const vm = it.lab.vm("looked01");
  const before = await it.run("check", vm);
  assert.equal(before.code, 0, before.stdout + before.stderr);
  assert.match(
    before.stdout,
    /disk-2000 .*: a run would make the volume migratekit-[^ ]+-disk-2000, 1 GiB/,
  );
  assert.deepEqual(it.cloud.calls.changes(), []);
  assert.equal((await it.run("migrate", vm)).code, 0);
  const after = await it.run("check", vm);
  assert.equal(after.code, 0, after.stdout);
  assert.match(
    after.stdout,
    new RegExp(`disk-2000 -> nbd://127.0.0.1:${it.exporter.port}/${it.volumeOf(vm, 2000)}`),
  );
  assert.match(after.stdout, /incremental/);
});

test("a volume that was detached is attached again, and one at another instance is refused", async () => {
  const vm = it.lab.vm("moved01");
  assert.equal((await it.run("migrate", vm)).code, 0);
  const client = new RawClient(it.cloud);
  const id = it.volumeOf(vm, 2000);
  await client.job("detachVolume", { id });
  const again = await it.run("migrate", vm);
  assert.equal(again.code, 0, again.stderr);
  assert.equal(again.json<Summary>().sync_type, "incremental");
  await client.job("detachVolume", { id });
  const other = await client.machine("other");
  await client.job("attachVolume", { id, virtualmachineid: other });
  const run = await it.run("migrate", vm);
  assert.equal(run.code, 10, run.stderr);
  assert.match(
    run.stderr,
    /volume migratekit-.* cannot be the target of disk-2000 .*attached to another instance, other/,
  );
});
