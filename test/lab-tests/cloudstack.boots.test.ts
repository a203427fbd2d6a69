import assert from "node:assert/strict";
import { open } from "node:fs/promises";
import { connect } from "node:net";
import { test } from "node:test";
import { type CloudStackLab, startCloudStack } from "../lab/cloudstack/cloudstack.ts";
import { until } from "../until.ts";
import { RawClient } from "./cloudstack-client.ts";

/**
 * A boot sector that prints a word at the first serial port and stands still: xor ax,ax; mov ds,ax;
 * mov dx,0x3f8; mov si,word; next: lodsb; test al,al; jz still; out dx,al; jmp next; still: hlt; jmp still
 */
function bootSector(word: string): Buffer {
  const code = "31c08ed8" + "baf803" + "be157c" + "ac84c07403eeebf8" + "f4ebfd";
  const sector = Buffer.alloc(512);
  Buffer.concat([Buffer.from(code, "hex"), Buffer.from(`${word}\r\n\0`)]).copy(sector);
  sector.writeUInt16BE(0x55aa, 510);
  return sector;
}

/** A machine whose root is a volume with that boot sector. */
async function bootable(cloud: CloudStackLab, client: RawClient, more: Record<string, string>) {
  const volume = await client.volume("root");
  await client.job("attachVolume", { id: volume, virtualmachineid: cloud.appliance.id });
  {
    await using file = await open(cloud.deviceOf(volume), "r+");
    await file.write(bootSector("booted from the volume"));
  }
  await client.job("detachVolume", { id: volume });
  const id = await client.machine("web-01", more);
  await client.swapRoot(id, volume);
  return id;
}

for (const controller of ["virtio", "scsi", "ide", "sata"]) {
  test(`a machine boots from the volume in its root slot, on ${controller}`, async () => {
    await using cloud = await startCloudStack({ shutdownTimeoutMs: 500 });
    const client = new RawClient(cloud);
    const id = await bootable(cloud, client, { "details[0].rootDiskController": controller });
    await client.job("startVirtualMachine", { id });
    const said = () => cloud.domain(id)!.console();
    await until("it says so", () => said().includes("booted from the volume"));
    // It does not hear that it shall shut down, and is ended when its time is over.
    await client.job("stopVirtualMachine", { id });
    assert.equal(cloud.domain(id), undefined);
  });
}

test("with UEFI a machine has an empty NVRAM: without a loader where firmware looks, it ends in its shell", async () => {
  await using cloud = await startCloudStack();
  const client = new RawClient(cloud);
  const id = await bootable(cloud, client, {
    ...{ boottype: "UEFI", bootmode: "LEGACY", "details[0].rootDiskController": "virtio" },
  });
  await client.job("startVirtualMachine", { id });
  await until("the shell", () => cloud.domain(id)!.console().includes("UEFI Interactive Shell"));
  await client.job("stopVirtualMachine", { id, forced: "true" });
});

test("a machine that ends by itself is stopped", async () => {
  await using cloud = await startCloudStack();
  const client = new RawClient(cloud);
  const id = await bootable(cloud, client, {});
  await client.job("startVirtualMachine", { id });
  process.kill(cloud.domain(id)!.pid, "SIGTERM");
  await until("it is stopped", async () => {
    const [machine] = await client.list("listVirtualMachines", { id });
    return machine!.state === "Stopped";
  });
  assert.equal((await client.job("startVirtualMachine", { id })).state, "Running");
});

test("a port of this machine leads to each that a probe may ask for", async () => {
  await using cloud = await startCloudStack();
  const client = new RawClient(cloud);
  const id = await bootable(cloud, client, { "iptonetworklist[0].ip": "192.0.2.10" });
  await client.job("startVirtualMachine", { id });
  const port = cloud.domain(id)!.forwards.get(22)!;
  const socket = connect(port, "127.0.0.1");
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", () => resolve());
    socket.once("error", reject);
  });
  socket.destroy();
});
