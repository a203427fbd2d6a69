import assert from "node:assert/strict";
import { test } from "node:test";
import { startLab } from "../lab/start-lab.ts";
import { nfcPort } from "./cli-commands.ts";
import { migrateWell } from "./migrate-checks.ts";
import { preflightHere } from "./preflight.ts";

const disk = { capacityBytes: 1 << 20, fill: { seed: 1, dataRatio: 0.5, zeroRatio: 0.1 } };
const vms = [{ name: "db64", disks: Array.from({ length: 64 }, () => disk) }];

for (const targets of ["direct", "stunnel"] as const) {
  test(`64 disks at one NBD server are looked at and copied, ${targets}`, async () => {
    await using lab = await startLab({ targets, vms });
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
