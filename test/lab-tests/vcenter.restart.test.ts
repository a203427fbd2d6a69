import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { startVcenter } from "../lab/vcenter/vcenter.ts";
import { tempDir } from "../temp-dir.ts";
import { RawVimClient } from "./raw-vim-client.ts";

const capacityBytes = 16 * 1_048_576 + 512;
const vms = [{ name: "MyVM", disks: [{ capacityBytes }] }];

test("a restarted lab has the same address, machines, snapshots and change tracking", async () => {
  await using dir = await tempDir();
  const labDir = dir.path;
  const first = await startVcenter({ labDir, vms, taskMs: 2, snapshotMs: 2 });
  const vm = first.vm("MyVM");
  vm.set({ changeTrackingEnabled: true });
  const base = await vm.createSnapshot({ name: "base", description: "", quiesced: false });
  await vm.randomWrites(2000, { seed: 1, writes: 6 });
  const changeId = `${base.disks[0]!.trackingUuid}/${base.disks[0]!.epoch}`;
  const truth = vm.changedSince(2000, changeId);
  const { endpoint, thumbprintSha1 } = first;
  await first.stop();
  await using second = await startVcenter({ labDir, taskMs: 2, snapshotMs: 2 });
  assert.deepEqual([second.endpoint, second.thumbprintSha1], [endpoint, thumbprintSha1]);
  const again = second.vm("MyVM");
  assert.deepEqual([again.moref, again.snapshots], [vm.moref, vm.snapshots]);
  assert.deepEqual(again.changedSince(2000, changeId), truth);
  assert.notEqual(truth.length, 0);
});

test("no change is missed when the lab is killed while the guest writes", async () => {
  await using dir = await tempDir();
  const labDir = dir.path;
  let serving: ChildProcess | undefined;
  try {
    const killed = await serve({ labDir, vms, taskMs: 2, snapshotMs: 2 });
    serving = killed.process;
    const client = new RawVimClient(killed.endpoint);
    await client.login(killed.username, killed.password);
    const vm = (await client.call("FindByInventoryPath", "SearchIndex:SearchIndex", findMyVm))[0]!;
    await client.setChangeTracking(vm.text, true);
    const base = await client.createSnapshot(vm.text);
    const changeId = (await client.changeIds(`VirtualMachineSnapshot:${base}`)).get(2000)!;
    await post(`${killed.controlUrl}/guest/start`, { vm: "MyVM", seed: 7, intervalMs: 0 });
    const image = path.join(labDir, "disks", "MyVM", "disk-2000.img");
    const before = await readFile(image);
    while ((await readFile(image)).equals(before)) await new Promise((r) => setTimeout(r, 5));
    serving.kill("SIGKILL");
    await once(serving, "exit");
    await using restarted = await startVcenter({ labDir, taskMs: 2, snapshotMs: 2 });
    const again = restarted.vm("MyVM");
    const later = await again.createSnapshot({ name: "later", description: "", quiesced: false });
    const pairs = again.changedSince(2000, changeId, later.moref);
    const then = await readFile(again.frozenImage(base, 2000));
    const now = await readFile(again.frozenImage(later.moref, 2000));
    assert.ok(!now.equals(then));
    for (let at = 0; at < pairs.length; at += 2) {
      now.copy(then, pairs[at]!, pairs[at]!, pairs[at]! + pairs[at + 1]!);
    }
    assert.ok(then.equals(now), "base and changed areas make the later snapshot");
  } finally {
    if (serving?.exitCode === null) serving.kill("SIGKILL");
  }
});

const findMyVm = "<inventoryPath>/Datacenter/vm/MyVM</inventoryPath>";

/** The simulator in a process of its own. */
async function serve(options: object) {
  const script = path.join(import.meta.dirname, "../lab/vcenter/serve.ts");
  const child = spawn(process.execPath, [script, JSON.stringify(options)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  for await (const chunk of child.stdout) {
    output += chunk;
    if (output.includes("\n")) break;
  }
  const ready = JSON.parse(output) as {
    endpoint: string;
    controlUrl: string;
    username: string;
    password: string;
  };
  return { ...ready, process: child };
}

async function post(url: string, body: object): Promise<void> {
  const response = await fetch(url, { method: "POST", body: JSON.stringify(body) });
  assert.equal(response.status, 200, await response.text());
}
