// What becomes of a disk that nbdkit reads when vSphere gives its files other names meanwhile.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import type { NbdServer } from "../lab/nbd-server.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import { startNbdkit } from "../lab/targets.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { until } from "../until.ts";

const run = promisify(execFile);
const key = 2000;
const capacityBytes = 8 << 20;

let lab: Lab;
let sockets = 0;
before(async () => {
  const disks = [{ capacityBytes, fill: { seed: 3, dataRatio: 1 } }];
  lab = await startLab({
    targets: "direct",
    vcenter: { datastores: ["datastore1", "datastore2"] },
    vms: ["moved", "merged"].map((name) => ({ name, disks })),
  });
});
after(() => lab.stop());

/** nbdkit on a disk of a snapshot, under the name that its file has now. */
function serve(vm: LabVm, snapshot: string): Promise<NbdServer> {
  const { fileName } = vm.snapshot(snapshot)!.disks.find((disk) => disk.key === key)!;
  const settings = {
    libdir: lab.vddk.libdir,
    server: "vcenter.lab",
    user: lab.vcenter.username,
    password: `+${lab.passwordFile}`,
    thumbprint: lab.vcenter.thumbprintSha1,
    vm: `moref=${vm.moref}`,
    snapshot,
    transports: "file:nbdssl:nbd",
    file: fileName,
  };
  const pairs = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
  const socket = join(lab.dir, `source-${sockets++}.sock`);
  return startNbdkit(["-r", lab.vddk.plugin, ...pairs], { socket });
}

const changes: [string, string, (vm: LabVm) => unknown][] = [
  ["moved to another datastore", "moved", (vm) => vm.move({ datastore: "datastore2" })],
  ["consolidated", "merged", (vm) => vm.consolidate()],
];

for (const [title, name, change] of changes) {
  test(`a disk that is ${title} is read on where it is open, and opens under its new name alone`, async () => {
    const vm = lab.vm(name);
    const foreign = await vm.createSnapshot({ name: "backup", description: "", quiesced: false });
    vm.removeSnapshot(foreign.moref, { merge: false });
    const about = { name: "ours", description: "", quiesced: false };
    const { moref } = await vm.createSnapshot(about);
    await using old = await serve(vm, moref);
    const client = spawn("qemu-io", ["-r", "-f", "raw", old.uri]);
    let output = "";
    client.stdout.on("data", (chunk) => {
      output += chunk;
    });
    client.stdin.write("read 0 1M\n");
    await until("the first read", () => output.includes("read 1048576/1048576 bytes at offset 0"));
    await change(vm);
    client.stdin.end("read 4M 1M\n");
    await once(client, "close");
    assert.match(output, /read 1048576\/1048576 bytes at offset 4194304/);
    await assert.rejects(run("nbdinfo", ["--size", old.uri]));
    await using renamed = await serve(vm, moref);
    const copy = join(lab.dir, "copy.raw");
    await run("nbdcopy", [renamed.uri, copy]);
    await run("cmp", [copy, vm.frozenImage(moref, key)]);
  });
}
