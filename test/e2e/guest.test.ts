// The whole way of a machine that boots: a guest on VMware's hardware, migrated while it writes, rehearsed,
// synced a last time, converted, and started from its target. Two conversions and three starts.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { digestOfFile } from "../digest.ts";
import { guestDisks } from "../guests/debian/debian.ts";
import { mebibyte } from "../guests/debian/recipe.ts";
import { GuestFiles, guest, guestKey, guestVm } from "../guests/guest-vm.ts";
import { expectWords, rawDisks } from "../guests/guest-words.ts";
import { startMachine } from "../lab/guest-machine.ts";
import { startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import { tempDir } from "../temp-dir.ts";

const bootTimeoutMs = 300_000;
const parentDir = "/var/tmp";

/** A command on the VM as the state knows it; its one document. */
async function run(lab: Lab, command: string, ...more: string[]) {
  const vm = ["--vmware-path", lab.vm("guest01").path, "--state-dir", lab.stateDir];
  const { code, stdout, stderr } = await startCli({
    args: [command, ...vm, "--json", ...more],
    env: { TMPDIR: parentDir },
  }).result;
  assert.equal(code, 0, `${command}: ${stderr}`);
  return JSON.parse(stdout);
}

async function sync(lab: Lab, type: "full" | "incremental", during?: () => Promise<void>) {
  const running = lab.migrate(lab.vm("guest01"), { extra: ["--json"] });
  await during?.();
  const { code, stdout, stderr } = await running;
  assert.equal(code, 0, stderr);
  assert.equal(JSON.parse(stdout).disks[0].sync_type, type);
}

test("a guest boots at VMware, is migrated, rehearsed and converted, and boots from its target with all it wrote", async (t) => {
  const [image] = await guestDisks("bios");
  await using folder = await tempDir();
  await t.test("it boots on VMware's hardware", async () => {
    const disks = rawDisks([image!]);
    await using machine = await startMachine({
      ...{ hardware: "vmware", firmware: "bios", disks, mac: guest.mac },
    });
    await expectWords(machine, guest, { marker: "one", timeoutMs: bootTimeoutMs });
  });
  await using lab = await startLab({ vms: [guestVm("guest01", image!)], parentDir });
  const vm = lab.vm("guest01");
  const files = await GuestFiles.of(image!, folder.path);
  const target = lab.targets.disksOf(vm).find(({ key }) => key === guestKey)!.targetFile;

  await t.test("it writes while it is copied, and between the syncs", async () => {
    await sync(lab, "full", () => files.change(vm, "two", randomBytes(3 * mebibyte)));
    await sync(lab, "incremental");
    await files.change(vm, "three", randomBytes(5 * mebibyte));
    await sync(lab, "incremental");
  });

  await t.test("a rehearsal boots, changes nothing, and foretells the downtime", async () => {
    const before = await digestOfFile(target);
    const screenshot = join(folder.path, "screen.png");
    const { verdict, boot, forecast } = await run(
      lab,
      "rehearse",
      "--boot",
      "--screenshot",
      screenshot,
    );
    assert.equal(verdict, "boots");
    assert.deepEqual(boot.addresses, [{ mac: guest.mac, address: guest.address.split("/")[0] }]);
    assert.ok(boot.kernel && boot.root_mounted && boot.console !== null, JSON.stringify(boot));
    assert.equal(readFileSync(screenshot).toString("latin1", 1, 4), "PNG");
    assert.equal(boot.screenshot, screenshot);
    const sum = forecast.last_sync_ms + forecast.conversion_ms + forecast.start_ms;
    assert.equal(forecast.downtime_ms, sum);
    assert.ok(forecast.delta_bytes >= 5 * mebibyte, `${forecast.delta_bytes}`);
    assert.equal(await digestOfFile(target), before);
    const { vms } = JSON.parse(
      (await startCli({ args: ["list", "--json", "--state-dir", lab.stateDir] }).result).stdout,
    );
    assert.equal(vms[0].rehearsed.verdict, "boots");
  });

  await t.test("syncs go on after it", async () => {
    await files.change(vm, "four", randomBytes(2 * mebibyte));
    await sync(lab, "incremental");
  });

  await t.test("it is converted, and boots from its target", async () => {
    const { conversion, applied } = await run(lab, "convert");
    assert.equal(conversion.verdict, "boots");
    assert.ok(existsSync(applied.old_bytes));
    const disks = rawDisks([target]);
    const { controller, machine } = conversion.hardware;
    assert.equal(controller, "virtio");
    await using started = await startMachine({
      ...{ hardware: "virtio", firmware: "bios", disks, mac: guest.mac, machine },
    });
    const root = "/dev/vda1";
    await expectWords(started, guest, { marker: "four", timeoutMs: bootTimeoutMs, root });
  });
});
