import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { processesNaming } from "../lab/process-table.ts";
import { startLab } from "../lab/start-lab.ts";
import { nfcPort, runCommand } from "./cli-commands.ts";
import { assertFailure, migrateWell } from "./migrate-checks.ts";
import { preflightHere } from "./preflight.ts";

const disk = { capacityBytes: 1 << 20, fill: { seed: 1, dataRatio: 0.5, zeroRatio: 0.1 } };
const disks = (count: number) => Array.from({ length: count }, () => disk);

for (const targets of ["direct", "stunnel"] as const) {
  test(`64 disks at one NBD server are looked at and copied, ${targets}`, async () => {
    await using lab = await startLab({ targets, vms: [{ name: "db64", disks: disks(64) }] });
    const vm = lab.vm("db64");
    const [, ...args] = lab.migrateArgs(vm);
    const { findings, code } = await preflightHere(["check", ...args], {
      MIGRATEKIT_VDDK_NFC_PORT: nfcPort(lab),
    });
    assert.equal(code, 0, JSON.stringify(findings.filter(({ level }) => level !== "ok")));
    const summary = await migrateWell(lab, vm);
    assert.equal(summary.disks.length, 64);
  });
}

/** Of one lab, those that serve. */
function servingNbdkits(labDir: string): number {
  return processesNaming(labDir).filter(({ commandLine }) => / --unix /.test(commandLine)).length;
}

for (const command of ["migrate", "verify"]) {
  test(`${command} keeps no more nbdkit than disks are at work, and the one that is looked at`, async () => {
    await using lab = await startLab({
      targets: "direct",
      vms: [{ name: "db12", disks: disks(12) }],
    });
    const vm = lab.vm("db12");
    if (command === "verify") await migrateWell(lab, vm);
    await lab.vddk.setFaults({ delay_us: 100_000 });
    let most = 0;
    let ended = false;
    const counting = (async () => {
      for (; !ended; await delay(10)) most = Math.max(most, servingNbdkits(lab.dir));
    })();
    const run = await runCommand(lab, command, vm, { extra: ["--parallel-disks", "2"] });
    ended = true;
    await counting;
    assert.equal(run.code, 0, run.stderr);
    assert.ok(most >= 2 && most <= 3, `${most} nbdkit at once`);
  });
}

test("a disk that VDDK cannot open ends the run before any disk is copied, be it the last in turn", async () => {
  await using lab = await startLab({ targets: "direct", vms: [{ name: "db6", disks: disks(6) }] });
  const vm = lab.vm("db6");
  await lab.vddk.setFaults({ only: "db6_5.vmdk", open_error: 13 });
  const run = await lab.migrate(vm, { extra: ["--parallel-disks", "1"] });
  assertFailure(run, 4, /\[source-login\]: disk-2005: /);
  for (const { targetFile } of lab.targets.disksOf(vm)) {
    assert.ok(
      (await readFile(targetFile)).every((byte) => byte === 0),
      targetFile,
    );
  }
});
