import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { StateDatabase } from "../../src/state/database/database.ts";
import { DiskRecords } from "../../src/state/disk-records.ts";
import { JournalStore } from "../../src/state/journal.ts";
import { compareFiles } from "../lab/compare.ts";
import { startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import { createVolume, type NbdServerExport, startNbdServer } from "../lab/targets.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { until } from "../until.ts";
import { runCommand } from "./cli-commands.ts";
import { assertFailure, assertNoSnapshot, type Summary } from "./migrate-checks.ts";

const capacityBytes = 16 << 20;
const copyOnWrite = { copyonwrite: "true" };

let lab: Lab;
before(async () => {
  lab = await startLab({ targets: "direct" });
});
after(() => lab.stop());

/** A machine and a volume of its own behind an nbd-server whose settings can be changed. */
async function machineWithServer(name: string, settings: Record<string, string>) {
  const fill = { seed: 3, dataRatio: 0.6, zeroRatio: 0.2 };
  const vm = await lab.addVm({ name, disks: [{ capacityBytes, fill }] });
  const file = join(lab.dir, `${name}-volume.raw`);
  await createVolume(file, capacityBytes);
  const volume: NbdServerExport = { name: "volume.raw", file, settings };
  const server = await startNbdServer({ exports: [volume], folder: join(lab.dir, name) });
  const extra = ["--nbd-targets", `2000:${server.uri}`];
  return {
    vm,
    extra,
    migrate: (...more: string[]) => lab.migrate(vm, { extra: [...extra, "--json", ...more] }),
    change: async (other: Record<string, string>) => {
      volume.settings = other;
      await server.restart();
    },
    isEqual: async () => {
      const { imagePath } = lab.frozenDisk(vm, 2000);
      return (await compareFiles(imagePath, file, capacityBytes)).equal;
    },
    [Symbol.asyncDispose]: () => server.stop(),
  };
}

function identityOf(vm: LabVm) {
  const { instanceUuid } = vm.record;
  return { endpoint: lab.vcenter.endpoint, instanceUuid, vmPath: vm.path };
}

function storedChangeId(vm: LabVm): string | undefined {
  using state = StateDatabase.open(lab.stateDir);
  return new DiskRecords(state).readDiskRecord(identityOf(vm), 2000)?.changeId;
}

function journalOf(vm: LabVm) {
  using state = StateDatabase.open(lab.stateDir);
  return new JournalStore(state).openJournal(identityOf(vm), 2000);
}

const cause = /\[target-forgets\].*differs from the snapshot/;
const remedy = /copyonwrite/;

test("a full copy onto a volume that forgets ends as an error, and nothing is believed of it", async () => {
  await using machine = await machineWithServer("full01", copyOnWrite);
  for (let round = 0; round < 2; round++) {
    const run = await machine.migrate();
    assertFailure(run, 5, cause, remedy);
    assert.match(run.stderr, /full copy, because/);
    assert.equal(storedChangeId(machine.vm), undefined);
    assert.equal(journalOf(machine.vm), undefined);
    assertNoSnapshot(machine.vm);
  }
  await machine.change({});
  const run = await machine.migrate();
  assert.equal(run.code, 0, run.stderr);
  assert.ok(await machine.isEqual());
});

test("an incremental onto a volume that began to forget ends as an error; the next run copies all", async () => {
  await using machine = await machineWithServer("incremental01", {});
  assert.equal((await machine.migrate()).code, 0);
  await machine.change(copyOnWrite);
  await machine.vm.randomWrites(2000, { seed: 4, writes: 4, zeroRatio: 0 });
  assertFailure(await machine.migrate(), 5, cause, remedy);
  assert.equal(storedChangeId(machine.vm), undefined);
  await machine.change({});
  const run = await machine.migrate();
  assert.equal(run.code, 0, run.stderr);
  assert.equal((JSON.parse(run.stdout) as Summary).disks[0]!.sync_type, "full");
  assert.ok(await machine.isEqual());
});

test("zeroes that are forgotten are missed too", async () => {
  await using machine = await machineWithServer("zeroes01", {});
  assert.equal((await machine.migrate()).code, 0);
  await machine.change(copyOnWrite);
  await machine.vm.write(2000, 0, { zeroLength: capacityBytes });
  assertFailure(await machine.migrate(), 5, cause, remedy);
});

test("a cutover onto a volume that forgets does not say that the target holds the last state", async () => {
  await using machine = await machineWithServer("cutover01", {});
  assert.equal((await machine.migrate()).code, 0);
  machine.vm.setPowerState("poweredOff");
  await machine.change(copyOnWrite);
  await machine.vm.write(2000, 3 << 20, Buffer.alloc(4096, "last words"));
  const { extra } = machine;
  const run = await runCommand(lab, "cutover", machine.vm, { extra: [...extra, "--yes"] });
  assertFailure(run, 5, cause, remedy);
});

test("the journal of a run that died is not believed where its volume forgot", async () => {
  await using machine = await machineWithServer("killed01", copyOnWrite);
  const { vm } = machine;
  const args = lab.migrateArgs(vm, { extra: [...machine.extra, "--max-rate", "2M"] });
  const run = startCli({ args });
  await until("something is journaled", () => (journalOf(vm)?.finished.length ?? 0) > 0);
  run.child.kill("SIGKILL");
  await run.result;
  await machine.change({});
  const next = await machine.migrate();
  assert.equal(next.code, 0, next.stderr);
  assert.match(next.stderr, /does not hold what the interrupted run wrote/);
  assert.equal((JSON.parse(next.stdout) as Summary).disks[0]!.resumed, false);
  assert.ok(await machine.isEqual());
});

test("what an interrupted run may have sent late is copied again three times, then nothing is believed of the volume", async () => {
  await using machine = await machineWithServer("late01", {});
  const { vm } = machine;
  assert.equal((await machine.migrate()).code, 0);
  await vm.randomWrites(2000, { seed: 5, writes: 40, maximumBytes: 262_144, zeroRatio: 0 });
  const args = lab.migrateArgs(vm, { extra: [...machine.extra, "--max-rate", "512K"] });
  const run = startCli({ args });
  await until("a copy is under way", () => journalOf(vm) !== undefined);
  run.child.kill("SIGKILL");
  await run.result;
  await vm.write(2000, 5 << 20, Buffer.alloc(8192, "newer than what is late"));
  await machine.change(copyOnWrite);

  const after = await machine.migrate();
  assertFailure(after, 5, /\[target-forgets\].* though that was copied again 3 times/, remedy);
  const repairs = after.stderr.match(/arrived late over newer ones; they are copied again/g) ?? [];
  assert.equal(repairs.length, 3);
  assert.equal(storedChangeId(vm), undefined);
  assertNoSnapshot(vm);
  await machine.change({});
  const next = await machine.migrate();
  assert.equal(next.code, 0, next.stderr);
  assert.equal((JSON.parse(next.stdout) as Summary).disks[0]!.sync_type, "full");
  assert.ok(await machine.isEqual());
});
