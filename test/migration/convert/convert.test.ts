// The way of a conversion from a synced VM to its targets and back; virt-v2v's place is taken by plain writes to the overlays.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { copyFile, readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { pino } from "pino";
import { type GivenFlags, resolveConfig } from "../../../src/config.ts";
import type { Conversion, GuestHardware, Overlay } from "../../../src/guest/guest.ts";
import { Account } from "../../../src/migration/account/account.ts";
import { type ConversionSummary, runConversion } from "../../../src/migration/convert/convert.ts";
import { runRollback } from "../../../src/migration/rollback/rollback.ts";
import { ProgressTracker } from "../../../src/progress/progress.ts";
import { appliedText, conversionText } from "../../../src/report/conversion/conversion.ts";
import { State } from "../../../src/state/state.ts";
import { migrateWell } from "../../e2e/migrate-checks.ts";
import { breachesOf } from "../../lab/json-schema.ts";
import { type Lab, startLab } from "../../lab/start-lab.ts";
import type { LabVm } from "../../lab/vcenter/lab-vm.ts";
import { rejection } from "../../state/helpers.ts";

const run = promisify(execFile);

let lab: Lab;
let vm: LabVm;
before(async () => {
  const fill = { seed: 5, dataRatio: 0.6, zeroRatio: 0.1 };
  const disks = [
    { capacityBytes: 4 << 20, fill },
    { capacityBytes: 2 << 20, fill },
  ];
  const nics = [{ mac: "00:50:56:00:aa:01", addresses: ["192.0.2.7/24"] }];
  const hardware = { firmware: "efi" as const, bootDiskKey: 2001, nics };
  lab = await startLab({ targets: "direct", vms: [{ name: "web01", disks, hardware }] });
  vm = lab.vm("web01");
  await migrateWell(lab, vm);
});
after(() => lab?.stop());

function contextOf(command: "convert" | "rollback", more: [string, string | boolean][] = []) {
  const flags = new Map<string, string | boolean>([
    ["state-dir", lab.stateDir],
    ["vmware-path", vm.path],
    ...more,
  ]) as GivenFlags;
  return {
    config: resolveConfig(command, flags, {}),
    logger: pino({ level: "silent" }),
    signal: new AbortController().signal,
    reporter: { stage() {}, tracker: new ProgressTracker(), account: new Account() },
  };
}

/** Writes to each overlay, and says this. */
function step(verdict: Conversion["verdict"], seen: { disks: string[]; hardware?: GuestHardware }) {
  return async (overlays: readonly Overlay[], hardware: GuestHardware): Promise<Conversion> => {
    seen.disks = overlays.map(({ disk }) => disk.diskId);
    seen.hardware = hardware;
    for (const { path } of overlays) {
      const commands = ["-c", "write -P 7 64k 100k", "-c", "write -z 1M 64k"];
      await run("qemu-io", ["-f", "qcow2", ...commands, path]);
    }
    const { firmware, secureBoot } = hardware;
    const findings =
      verdict === "boots"
        ? []
        : [{ level: verdict, source: "check" as const, text: "no virtio driver" }];
    return {
      verdict,
      hardware: { controller: "virtio", firmware, secureBoot, machine: "q35", nics: [] },
      guest: { os: "linux", distro: "debian", version: "12" },
      repairs: [{ name: "efi-fallback", detail: "grub was copied to EFI/BOOT" }],
      findings,
      durationMs: 1234,
    };
  };
}

const files = () => lab.targets.disksOf(vm).map(({ targetFile }) => targetFile);

async function isAsBefore(file: string): Promise<boolean> {
  const [now, then] = await Promise.all([readFile(file), readFile(`${file}.before`)]);
  return now.equals(then);
}

async function assertAsBefore() {
  for (const file of files()) assert.ok(await isAsBefore(file), file);
}

test("where the guest would not boot, or nobody can tell, nothing is written; the boot disk comes first", async () => {
  for (const file of files()) await copyFile(file, `${file}.before`);
  const seen: { disks: string[]; hardware?: GuestHardware } = { disks: [] };
  for (const verdict of ["will-not-boot", "look"] as const) {
    let found: ConversionSummary | undefined;
    const { message } = await rejection(
      runConversion(contextOf("convert"), {
        onVerdict: (summary) => {
          found = summary;
        },
        convert: step(verdict, seen),
      }),
      "guest-will-not-boot",
    );
    assert.match(message, /no virtio driver/);
    assert.equal(found?.conversion.verdict, verdict);
    const failure = {
      status: "failed",
      exit_code: 9,
      error: { code: "guest-will-not-boot", message, remedy: "x" },
    };
    assert.deepEqual(breachesOf("convert", { ...failure, ...found }), []);
    assert.match(conversionText(found!), /no virtio driver \(check\)/);
  }
  assert.deepEqual(seen.disks, ["disk-2001", "disk-2000"]);
  assert.equal(seen.hardware?.firmware, "uefi");
  assert.deepEqual(seen.hardware?.nics, [
    { mac: "00:50:56:00:aa:01", network: "VM Network", addresses: ["192.0.2.7/24"] },
  ]);
  await assertAsBefore();
});

test("flags beat what vSphere said, and where it may boot --accept-look applies it; then comes the way back", async () => {
  const seen: { disks: string[]; hardware?: GuestHardware } = { disks: [] };
  const kept = join(lab.dir, "kept");
  const summary = await runConversion(
    contextOf("convert", [
      ["accept-look", true],
      ["firmware", "bios"],
      ["mac", "52:54:00:12:34:56=192.0.2.9/24,52:54:00:12:34:58"],
      ["keep-old", kept],
    ]),
    { onVerdict() {}, convert: step("look", seen) },
  );
  assert.equal(seen.hardware?.firmware, "bios");
  assert.deepEqual(seen.hardware?.nics, [
    { mac: "52:54:00:12:34:56", addresses: ["192.0.2.9/24"] },
    { mac: "52:54:00:12:34:58", addresses: [] },
  ]);
  assert.deepEqual(breachesOf("convert", { status: "completed", ...summary }), []);
  assert.match(appliedText(summary), /disk-2001 .* changed on .*\n.*disk-2000/);
  for (const file of files()) {
    const written = await run("qemu-io", ["-f", "raw", "-r", "-c", "read -P 7 64k 100k", file]);
    assert.doesNotMatch(written.stdout, /verification failed/i);
    assert.equal(await isAsBefore(file), false);
  }
  assert.equal(readdirSync(kept).length, 1);
  await rejection(
    runConversion(contextOf("convert"), { onVerdict() {}, convert: step("boots", seen) }),
    "converted",
  );
  using state = State.openExisting(lab.stateDir);
  const identity = state!.listVms()[0]!;
  assert.deepEqual(state!.conversions.read(identity)?.result, summary.conversion);
  assert.equal(state!.runs.listRuns(identity)[0]?.command, "convert");

  const restored = await runRollback(contextOf("rollback"));
  assert.deepEqual(breachesOf("rollback", { status: "completed", ...restored }), []);
  await assertAsBefore();
  assert.deepEqual(readdirSync(kept), []);
  assert.equal((await migrateWell(lab, vm)).sync_type, "incremental");
});
