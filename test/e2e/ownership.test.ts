// A target belongs to one disk of one VM, whatever process, user or state directory comes for it.
import assert from "node:assert/strict";
import { symlink } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { compareFiles } from "../lab/compare.ts";
import { type CliResult, type CliRun, startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import { createVolume, startNbdServer, startQemuNbd } from "../lab/targets.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { until } from "../until.ts";
import { hasJournal, runCommand } from "./cli-commands.ts";
import { assertFailure, migrateWell } from "./migrate-checks.ts";

let lab: Lab;
before(async () => {
  lab = await startLab({ targets: "direct" });
});
after(() => lab.stop());

const capacityBytes = 4 << 20;
let seed = 1;

async function newVm(name: string, disks = 1): Promise<LabVm> {
  return await lab.addVm({
    name,
    disks: Array.from({ length: disks }, () => ({
      capacityBytes,
      fill: { seed: ++seed, dataRatio: 0.7, zeroRatio: 0.1 },
    })),
  });
}

/** An export that the VMs may quarrel about. */
function targetOf(vm: LabVm) {
  const { exportUri, targetFile } = lab.targets.disksOf(vm)[0]!;
  return { uri: exportUri, file: targetFile };
}

function migrate(vm: LabVm, uri: string, ...extra: string[]): CliRun {
  return startCli({ args: [...lab.migrateArgs(vm), "--nbd-targets", `2000:${uri}`, ...extra] });
}

/** The same, so slow that it is still at it when others come; resolves once it writes. */
async function startSlowly(vm: LabVm, uri: string, ...extra: string[]): Promise<CliRun> {
  const run = migrate(vm, uri, "--max-rate", "256K", ...extra);
  const ended = run.result.then(({ stderr }) => assert.fail(`it ended: ${stderr}`));
  await Promise.race([until("it writes", () => hasJournal(lab, vm)), ended]);
  ended.catch(() => {});
  return run;
}

async function assertHolds(file: string, vm: LabVm): Promise<void> {
  const { imagePath } = lab.frozenDisk(vm, 2000);
  const { equal, difference } = await compareFiles(imagePath, file, capacityBytes);
  assert.ok(equal, `${file} does not hold ${vm.name}: ${difference}`);
}

function assertOwned(run: CliResult, owner: LabVm, key = 2000): void {
  const whose = `belongs to disk-${key} of ${owner.path} \\(instance UUID ${owner.record.instanceUuid}`;
  assertFailure(
    run,
    7,
    new RegExp(`\\[target-owned\\].* ${whose}.* since 20`),
    /--take-over-target/,
  );
}

test("a copied command line with another VM is refused, also after --take-over-target gave it to another", async () => {
  const [one, two] = [await newVm("first-owner"), await newVm("copied-line")];
  const { uri, file } = targetOf(one);
  assert.equal((await migrate(one, uri).result).code, 0);
  for (const extra of [[], ["--on-target-mismatch", "fail"], ["--full"], ["--target-is-zero"]]) {
    assertOwned(await migrate(two, uri, ...extra).result, one);
    await assertHolds(file, one);
  }
  const check = await runCommand(lab, "check", two, {
    extra: ["--nbd-targets", `2000:${uri}`, "--json"],
  });
  assert.equal(check.code, 7, check.stdout);
  assert.match(check.stdout, /belongs to disk-2000 of \S+first-owner/);

  const taken = await migrate(two, uri, "--take-over-target", "--target-is-zero").result;
  assert.equal(taken.code, 0, taken.stderr);
  assert.match(taken.stderr, /it is taken over and copied in full/);
  await assertHolds(file, two);
  assertOwned(await migrate(one, uri).result, two);
  await assertHolds(file, two);
  assert.equal((await migrate(one, uri, "--take-over-target").result).code, 0);
  await assertHolds(file, one);
  assertOwned(await migrate(two, uri).result, one);
});

test("two VMs at once on one export, from one state directory or two: one gets it", async () => {
  for (const stateDir of [lab.stateDir, join(lab.dir, "another-state")]) {
    const [one, two] = [await newVm(`racer-${seed}`), await newVm(`racer-${seed}`)];
    const { uri, file } = targetOf(one);
    const slow = await startSlowly(one, uri);
    const other = ["--state-dir", stateDir];
    const refused = await migrate(two, uri, ...other).result;
    if (stateDir === lab.stateDir) assertOwned(refused, one);
    else {
      const holder = `process ${slow.child.pid}, started 20\\S+, for ${one.path}`;
      assertFailure(refused, 7, new RegExp(`\\[locked\\].* writes to the target .*: ${holder}`));
      const extra = ["--nbd-targets", `2000:${uri}`, ...other];
      const check = await runCommand(lab, "check", two, { extra });
      assert.equal(check.code, 7, check.stdout);
    }
    const taking = await migrate(two, uri, "--take-over-target", ...other).result;
    assertFailure(taking, 7, /\[locked\]/);
    const first = await slow.result;
    assert.equal(first.code, 0, first.stderr);
    await assertHolds(file, one);
  }
});

test("one VM from two state directories at once: the second run is refused before it writes", async () => {
  const vm = await newVm("two-states");
  const { uri, file } = targetOf(vm);
  const slow = await startSlowly(vm, uri);
  await vm.randomWrites(2000, { seed: 5, writes: 9 });
  const refused = await migrate(vm, uri, "--state-dir", join(lab.dir, "second-state")).result;
  assertFailure(refused, 7, /\[locked\]/);
  const first = await slow.result;
  assert.equal(first.code, 0, first.stderr);
  const second = await migrate(vm, uri).result;
  assert.equal(second.code, 0, second.stderr);
  await assertHolds(file, vm);
});

test("what another appliance writes to a volume later, the owner's next run sees and does not write over", async () => {
  const [one, two] = [await newVm("owner"), await newVm("of-another-appliance")];
  const { uri, file } = targetOf(one);
  await migrateWell(lab, one);
  // Nothing that lasts is kept on a VM or a target: an appliance that is new to both cannot know.
  const elsewhere = ["--state-dir", join(lab.dir, "another-appliance")];
  const foreign = await migrate(two, uri, ...elsewhere).result;
  assert.equal(foreign.code, 0, foreign.stderr);
  await one.randomWrites(2000, { seed: 6, writes: 3 });
  assertFailure(
    await migrate(one, uri).result,
    5,
    /\[target-mismatch\].*not what the last run left/,
  );
  await assertHolds(file, two);
});

test("a killed run's target is free for the same disk at once, and for no other", async () => {
  const [one, two] = [await newVm("killed"), await newVm("waiting")];
  const { uri, file } = targetOf(one);
  const slow = await startSlowly(one, uri);
  slow.child.kill("SIGKILL");
  await slow.result;
  assertOwned(await migrate(two, uri).result, one);
  assert.equal((await migrate(one, uri).result).code, 0);
  await assertHolds(file, one);
});

test("a VM that was put at the path of a renamed one does not get its volume", async () => {
  const old = await newVm("same-path");
  const { uri, file } = targetOf(old);
  const args = lab.migrateArgs(old);
  assert.equal((await startCli({ args }).result).code, 0);
  lab.vcenter.renameVm(old, { name: "same-path-old" });
  const young = await newVm("same-path");
  const run = await startCli({ args }).result;
  assert.match(run.stderr, /another VM is at \S+same-path than in the last run/);
  assertFailure(
    run,
    7,
    new RegExp(`belongs to disk-2000 of \\S+same-path \\(instance UUID ${old.record.instanceUuid}`),
  );
  assert.notEqual(young.record.instanceUuid, old.record.instanceUuid);
  assert.equal(targetOf(young).uri, uri);
  await assertHolds(file, old);
});

test("{index} after a disk in the middle was removed does not move the others onto its volume", async () => {
  const vm = await newVm("indexed", 3);
  const exports = [0, 1, 2].map((index) => ({
    name: `indexed-${index}`,
    file: join(lab.dir, `indexed-${index}.raw`),
  }));
  for (const { file } of exports) await createVolume(file, capacityBytes);
  await using server = await startNbdServer({ folder: join(lab.dir, "indexed"), exports });
  const flags = ["--nbd-port", String(server.port), "--nbd-export-name", "indexed-{index}"];
  const args = [...lab.migrateArgs(vm), ...flags];
  assert.equal((await startCli({ args }).result).code, 0);
  const removed = lab.frozenDisk(vm, 2001).imagePath;
  await vm.removeDisk(2001);
  assertOwned(await startCli({ args }).result, vm, 2001);
  const { equal } = await compareFiles(removed, exports[1]!.file, capacityBytes);
  assert.ok(equal, "the volume of the removed disk stays as it is");
});

test("a Unix socket is one target whatever path leads to it", async () => {
  const [one, two] = [await newVm("by-socket"), await newVm("by-link")];
  const file = join(lab.dir, "socket.raw");
  await createVolume(file, capacityBytes);
  const [socket, link] = [join(lab.dir, "nbd.sock"), join(lab.dir, "link.sock")];
  await using _server = await startQemuNbd({ file, exportName: "x", socket });
  await symlink(socket, link);
  assert.equal((await migrate(one, `nbd+unix:///x?socket=${socket}`).result).code, 0);
  assertOwned(await migrate(two, `nbd+unix:///x?socket=${link}`).result, one);
  await assertHolds(file, one);
});

test("--target-is-zero is not believed of a target that was written to, also without change tracking", async () => {
  const vm = await lab.addVm({
    name: "untracked",
    hardwareVersion: 4,
    disks: [{ capacityBytes, fill: { seed: 3, dataRatio: 1, zeroRatio: 0 } }],
  });
  const extra = ["--target-is-zero"];
  await migrateWell(lab, vm, { extra });
  await vm.write(2000, 0, { zeroLength: 1 << 20 });
  await migrateWell(lab, vm, { extra });
});

test("a repair writes only where the disk's own copy is, and to no target that another run writes to", async () => {
  const [one, two] = [await newVm("repaired"), await newVm("not-repaired")];
  const { uri } = targetOf(one);
  assert.equal((await migrate(one, uri).result).code, 0);
  const extra = ["--nbd-targets", `2000:${uri}`, "--repair"];
  assertOwned(await runCommand(lab, "verify", two, { extra }), one);
});
