// Targets that hold a converted guest: syncs leave them alone until the way back was gone, or all is copied again.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { copyFile, open, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { applyOverlays } from "../../src/migration/apply/apply.ts";
import { State } from "../../src/state/state.ts";
import { startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { makeOverlay, openWorkshop, toConvert } from "../migration/apply/workshop.ts";
import { runCommand } from "./cli-commands.ts";
import { assertEqualTargets, assertFailure, migrateWell } from "./migrate-checks.ts";

const run = promisify(execFile);
const mib = 1024 * 1024;

let lab: Lab;
before(async () => {
  const fill = { seed: 5, dataRatio: 0.6, zeroRatio: 0.1 };
  const disks = [
    { capacityBytes: 8 * mib, fill },
    { capacityBytes: 4 * mib, fill: { ...fill, seed: 6 } },
  ];
  const vms = ["one", "two", "three", "four"].map((name) => ({ name, disks }));
  lab = await startLab({ targets: "direct", vms });
});
after(() => lab?.stop());

/** The guest's first mebibyte, and something of each disk, is changed, as a conversion does; gives the run's ID. */
async function convert(vm: LabVm): Promise<string> {
  using known = State.open(lab.stateDir);
  const identity = known.listVms().find(({ vmPath }) => vmPath === vm.path)!;
  const runId = `conversion-of-${vm.name}`;
  await using shop = await openWorkshop(lab.dir, { stateDir: lab.stateDir, identity });
  const disks = [];
  for (const { key, exportUri: uri } of lab.targets.disksOf(vm)) {
    const overlay = join(lab.dir, `${vm.name}-${key}.qcow2`);
    await makeOverlay(overlay, uri);
    const commands = [
      "-c",
      "write -P 7 8k 4k",
      "-c",
      "write -P 9 2M 200k",
      "-c",
      "write -z 3M 64k",
    ];
    await run("qemu-io", ["-f", "qcow2", ...commands, overlay]);
    disks.push(await toConvert({ key, uri, overlay }));
  }
  const tls = { caFile: undefined, certificatesDir: undefined, pskFile: undefined };
  const options = { runId, keepOld: join(lab.dir, "kept"), bytesMax: 64 * mib, tls };
  await applyOverlays(shop.context, disks, { ...options, result: { verdict: "boots" } });
  return runId;
}

/** Copies of what the targets hold now. */
async function copies(vm: LabVm): Promise<string[]> {
  const files = lab.targets.disksOf(vm).map(({ targetFile }) => targetFile);
  await Promise.all(files.map((file) => copyFile(file, `${file}.copy`)));
  return files;
}

async function assertAsCopied(files: readonly string[]) {
  for (const file of files) {
    const [now, then] = await Promise.all([readFile(file), readFile(`${file}.copy`)]);
    assert.ok(now.equals(then), file);
  }
}

const rollback = (vm: LabVm, ...more: string[]) =>
  startCli({
    args: ["rollback", "--state-dir", lab.stateDir, "--vmware-path", vm.path, ...more],
  }).result;

function inState(sql: string): void {
  const db = new DatabaseSync(join(lab.stateDir, "migratekit.db"));
  db.exec(sql);
  db.close();
}

test("a sync onto converted targets is refused until the way back, which is proved and lets incrementals go on", async () => {
  const vm = lab.vm("one");
  await migrateWell(lab, vm, { jobId: "sync-1" });
  await vm.randomWrites(2000, { seed: 1, writes: 5 });
  await migrateWell(lab, vm);
  const files = await copies(vm);
  const runId = await convert(vm);
  for (const command of ["migrate", "verify"] as const) {
    const refused = await runCommand(lab, command, vm);
    assertFailure(refused, 7, new RegExp(`\\[converted\\].*${runId}`), /migratekit rollback/);
  }
  const check = await runCommand(lab, "check", vm);
  assert.equal(check.code, 7, check.stdout);
  assert.match(check.stdout, /were converted at .*migratekit rollback/s);
  const history = await startCli({ args: ["history", "--state-dir", lab.stateDir] }).result;
  assert.match(history.stdout, new RegExp(`one at .*, converted at .*\\(run ${runId}\\)`));
  const list = await startCli({ args: ["list", "--state-dir", lab.stateDir, "--json"] }).result;
  const { vms } = JSON.parse(list.stdout) as { vms: { converted?: { run_id: string } }[] };
  assert.ok(vms.some(({ converted }) => converted?.run_id === runId));
  const status = async () => {
    const args = ["status", "sync-1", "--vma-url", lab.vma.url, "--state-dir", lab.stateDir];
    const { stdout } = await startCli({ args }).result;
    const { stdout: document } = await startCli({ args: [...args, "--json"] }).result;
    return { stdout, converted: JSON.parse(document).converted as { run_id: string } | undefined };
  };
  const asConverted = await status();
  assert.match(asConverted.stdout, new RegExp(`, converted at .* \\(run ${runId}\\)$`, "m"));
  assert.equal(asConverted.converted?.run_id, runId);

  const back = await rollback(vm, "--json");
  assert.equal(back.code, 0, back.stderr);
  assert.equal((await status()).converted, undefined);
  const document = JSON.parse(back.stdout) as { disks: { restored_bytes: number }[] };
  assert.equal(document.disks.length, 2);
  assert.ok(document.disks.every(({ restored_bytes }) => restored_bytes > 200 * 1024));
  await assertAsCopied(files);
  assert.deepEqual(await readdir(join(lab.dir, "kept")), []);
  await vm.randomWrites(2000, { seed: 2, writes: 5 });
  assert.equal((await migrateWell(lab, vm)).sync_type, "incremental");
  assertFailure(await rollback(vm), 2, /\[not-converted\]/);
});

test("without the note in the state the guard sees that the targets were converted", async () => {
  const vm = lab.vm("two");
  await migrateWell(lab, vm);
  await convert(vm);
  inState("DELETE FROM conversion");
  const refused = await lab.migrate(vm);
  assertFailure(refused, 5, /\[target-mismatch\]/);
});

test("a guest that was started on the targets is not rolled back; a full copy goes over it", async () => {
  const vm = lab.vm("three");
  await migrateWell(lab, vm);
  await convert(vm);
  const { targetFile } = lab.targets.disksOf(vm)[1]!;
  {
    // Where the conversion wrote nothing: the guest's own partition table.
    await using file = await open(targetFile, "r+");
    await file.write(Buffer.alloc(512, 3), 0, 512, 0);
  }
  assertFailure(await rollback(vm), 5, /\[target-mismatch\].*at offset 0/, /--full/);
  const full = await migrateWell(lab, vm, { extra: ["--full"] });
  assert.match(full.log, /what it kept for the way back is removed/);
  assert.equal((await migrateWell(lab, vm)).sync_type, "incremental");
});

test("an apply that did not end: check says what the next run does, and the next run does it", async () => {
  const vm = lab.vm("four");
  await migrateWell(lab, vm);
  await convert(vm);
  inState("UPDATE conversion SET phase = 'applying'");
  const check = await runCommand(lab, "check", vm);
  assert.equal(check.code, 0, check.stdout);
  assert.match(check.stdout, /did not end: the old bytes are brought back to all targets/);
  const found = await migrateWell(lab, vm);
  assert.equal(found.sync_type, "incremental");
  assert.match(found.log, /did not end: the old bytes are brought back to all targets/);
  await assertEqualTargets(lab, vm);
});
