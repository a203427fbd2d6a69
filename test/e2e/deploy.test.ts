// From VMware to a machine in CloudStack in one command, and back.
import assert from "node:assert/strict";
import { open, readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { digestOfFile } from "../digest.ts";
import { breachesOf } from "../lab/json-schema.ts";
import { startCli } from "../lab/run-cli.ts";
import { DeployLab, nics } from "./deploy-lab.ts";
import { assertFailure } from "./migrate-checks.ts";

let site: DeployLab;
before(async () => {
  site = await DeployLab.start();
});
after(() => site?.[Symbol.asyncDispose]());

async function sync(): Promise<{ sync_type: string }> {
  const run = await site.migrate();
  assert.equal(run.code, 0, run.stderr);
  await site.assertSynced();
  return JSON.parse(run.stdout) as { sync_type: string };
}

/** What a guest does to its disks while it runs, far from where anybody looks. */
async function writeInCloudStack(): Promise<void> {
  for (const key of site.volumes.keys()) {
    await using file = await open(site.fileOf(key), "r+");
    await file.write(Buffer.alloc(12_288, 9), 0, 12_288, (1 << 20) + 300_032);
  }
}

test("the VM becomes a machine with its disks, cards, addresses and firmware", async () => {
  const { vm, cloud } = site;
  await sync();
  await vm.guest.start({ seed: 3, intervalMs: 5, maximumBytes: 65_536 });
  const run = await site.cutover();
  await vm.guest.stop();
  assert.ok(run.result, run.log);
  const { result } = run;
  assert.deepEqual(breachesOf("cutover", { status: "completed", exit_code: 0, ...result }), []);
  const [machine] = cloud.instances();
  assert.equal(cloud.instances().length, 1);
  assert.equal(machine?.state, "Running");
  assert.match(machine.name, /^web01-[0-9a-f]{6}$/);
  assert.equal(machine.bootType, "UEFI");
  assert.deepEqual(
    machine.nics.map(({ mac, ip }) => [mac, ip]),
    nics.map(({ mac, addresses }) => [mac, addresses[0]!.split("/")[0]]),
  );
  assert.equal(machine.details.rootDiskController, "virtio");
  assert.deepEqual(site.places(), { 2000: `${machine.name} 1`, 2001: `${machine.name} 0` });
  assert.equal(cloud.volumes().length, 2, "the root that it was made with is gone");
  assert.equal(result.instance?.id, machine.id);
  assert.ok(result.downtime_ms >= result.final_sync.duration_ms);
  for (const disk of vm.disks) {
    const expected = await readFile(disk.imagePath);
    expected.fill(7, 64 << 10, (64 + 100) << 10);
    expected.fill(0, 1 << 20, (1 << 20) + (64 << 10));
    const volume = await readFile(site.fileOf(disk.record.key));
    assert.ok(volume.subarray(0, expected.length).equals(expected), `disk-${disk.record.key}`);
  }
  assert.equal(vm.record.powerState, "poweredOff");
});

test("as long as it lives there, nothing syncs, and every refusal names the way back", async () => {
  const refused = await site.migrate();
  assertFailure(refused, 7, /\[cut-over\]/, /in CloudStack as web01-.*migratekit rollback/);
  const check = await startCli({ args: ["check", ...site.args()], env: site.env }).result;
  assert.equal(check.code, 7, check.stdout);
  assert.match(check.stdout, /in CloudStack as web01-.*\s.*migratekit rollback/);
  const again = await site.cutover();
  assert.equal(again.failure?.error.code, "cut-over", again.log);
  assert.equal(site.cloud.instances().length, 1);
});

test("list and history say which machine it is", async () => {
  const { id, name } = site.cloud.instances()[0]!;
  const local = ["--state-dir", site.lab.stateDir];
  for (const command of ["list", "history"] as const) {
    const shown = await startCli({ args: [command, ...local] }).result;
    assert.match(shown.stdout, new RegExp(`CloudStack.*${id}`), shown.stdout + shown.stderr);
    const { stdout } = await startCli({ args: [command, ...local, "--json"] }).result;
    const document = JSON.parse(stdout) as { vms: { cut_over?: { instance?: object } }[] };
    assert.deepEqual(breachesOf(command, document), []);
    assert.deepEqual(document.vms[0]?.cut_over?.instance, { name, id });
  }
});

test("back with the source at hand: what the machine wrote is found and undone, and the next sync is incremental", async () => {
  const { vm } = site;
  await writeInCloudStack();
  const back = await site.rollback({ connected: true, extra: ["--power-on-source"] });
  assert.equal(back.code, 0, back.stderr);
  const document = JSON.parse(back.stdout);
  assert.equal(document.next_sync, "incremental");
  assert.equal(document.repaired_bytes, 2 * 12_288);
  assert.deepEqual([document.instance.has_run, document.powered_on], [true, true]);
  site.assertBack();
  await site.assertSynced();
  assert.equal(site.deployment(), undefined);
  assert.equal(vm.record.powerState, "poweredOn");
  await vm.randomWrites(2000, { seed: 2, writes: 5 });
  assert.equal((await sync()).sync_type, "incremental");
});

test("back without the source: the next sync is full, and equal; --keep-new keeps what the machine left", async () => {
  const { vm, cloud, client } = site;
  const run = await site.cutover();
  assert.ok(run.result, run.log);
  await writeInCloudStack();
  const left = new Map<string, string>();
  for (const key of site.volumes.keys()) {
    left.set(`disk-${key}`, await digestOfFile(site.fileOf(key)));
  }
  const back = await site.rollback({ extra: ["--keep-new", "kept-web01"] });
  assert.equal(back.code, 0, back.stderr);
  const { next_sync, kept } = JSON.parse(back.stdout);
  assert.equal(next_sync, "full");
  assert.equal(kept.length, 2);
  for (const { disk_id, name, id } of kept) {
    assert.equal(name, `kept-web01-${disk_id}`);
    assert.equal(await digestOfFile(cloud.volumeFile(id)), left.get(disk_id));
    assert.equal(cloud.volumes().find((volume) => volume.id === id)?.instanceId, undefined);
    await client.run("deleteVolume", { id });
  }
  site.assertBack();
  assert.equal(vm.record.powerState, "poweredOff");
  vm.setPowerState("poweredOn");
  assert.equal((await sync()).sync_type, "full");
});

test("--reopen leaves a machine that lives to itself, and the VM is copied anew", async () => {
  const { vm, cloud } = site;
  const run = await site.cutover();
  assert.ok(run.result, run.log);
  vm.setPowerState("poweredOn");
  const elsewhere = site.lab.migrateArgs(vm, {
    explicitTargets: true,
    extra: ["--reopen", "--json"],
  });
  const copied = await startCli({ args: elsewhere, env: site.env }).result;
  assert.equal(copied.code, 0, copied.stderr);
  assert.equal(JSON.parse(copied.stdout).sync_type, "full");
  assert.match(copied.stderr, /web01-\S+ in CloudStack is left to itself/);
  assert.equal(cloud.instances()[0]?.state, "Running");
  assert.equal(site.deployment(), undefined);
});
