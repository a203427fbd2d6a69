// A vCenter and a VM are what their UUIDs say, whatever they are called.
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { after, before, test } from "node:test";
import { compareFiles } from "../lab/compare.ts";
import { startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { nfcPort } from "./cli-commands.ts";
import { assertFailure, migrateWell, type Summary } from "./migrate-checks.ts";

let lab: Lab;
before(async () => {
  lab = await startLab({ targets: "direct" });
});
after(() => lab.stop());

const fill = { seed: 5, dataRatio: 0.5, zeroRatio: 0.1 };

async function newVm(name: string): Promise<LabVm> {
  return await lab.addVm({ name, disks: [{ capacityBytes: 4 << 20, fill }] });
}

/** The laboratory's vCenter answers on IPv6 too, while `t` runs. */
async function portOnIpv6(t: { after(end: () => void): void }): Promise<number> {
  const [host = "", port] = lab.vcenter.endpoint.split(":");
  const server = createServer((socket) => {
    const onward = connect(Number(port), host);
    socket.on("error", () => onward.destroy());
    onward.on("error", () => socket.destroy());
    socket.pipe(onward).pipe(socket);
  });
  server.listen(0, "::1");
  await once(server, "listening");
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

test("one vCenter under other names and addresses: every run after the first is incremental", async (t) => {
  const vm = await newVm("renamed-endpoint");
  const port = lab.vcenter.endpoint.split(":")[1];
  const port6 = await portOnIpv6(t);
  const addresses = [
    `127.0.0.1:${port}`,
    `localhost:${port}`,
    `127.0.0.1:${port}`,
    `[::1]:${port6}`,
    `[0:0:0:0:0:0:0:1]:${port6}`,
  ];
  let last = "";
  for (const address of addresses) {
    const summary = await migrateWell(lab, vm, { extra: ["--vmware-endpoint", address] });
    const [disk] = summary.disks;
    assert.equal(disk?.sync_type, last === "" ? "full" : "incremental", address);
    const notice = `the VM was reached at ${last} in the last run`;
    assert.equal(summary.log.includes(notice), last !== "", summary.log);
    last = address;
    await vm.randomWrites(2000, { seed: 7, writes: 3 });
  }
});

test("a VM that was renamed and moved is found at its old path, and goes on incrementally", async () => {
  const vm = await newVm("before");
  await migrateWell(lab, vm);
  const args = [...lab.migrateArgs(vm), "--json"];
  const { targetFile } = lab.targets.disksOf(vm)[0]!;
  lab.vcenter.renameVm(vm, { name: "afterwards", folder: "Elsewhere" });
  await vm.randomWrites(2000, { seed: 7, writes: 3 });
  const run = await startCli({ args }).result;
  assert.equal(run.code, 0, run.stderr);
  assert.equal((JSON.parse(run.stdout) as Summary).disks[0]?.sync_type, "incremental");
  assert.match(run.stderr, /at \S+before in the last run is at \S+Elsewhere\/afterwards now/);
  const { imagePath, capacityBytes } = lab.frozenDisk(vm, 2000);
  assert.ok((await compareFiles(imagePath, targetFile, capacityBytes)).equal);

  const env = { MIGRATEKIT_VDDK_NFC_PORT: nfcPort(lab) };
  const check = await startCli({ args: ["check", ...args.slice(1)], env }).result;
  assert.equal(check.code, 0, check.stdout + check.stderr);
  assert.match(check.stdout, /is at \S+Elsewhere\/afterwards now/);
});

test("a VM that is gone is not found, whatever is known of it", async () => {
  const vm = await newVm("gone");
  await migrateWell(lab, vm);
  const args = lab.migrateArgs(vm);
  lab.vcenter.inventory.vms.splice(lab.vcenter.inventory.vms.indexOf(vm), 1);
  assertFailure(await startCli({ args }).result, 3, /\[vm-not-found\]/);
});
