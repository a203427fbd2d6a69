// What `convert` refuses before it converts anything, and what `check --convert` looks for. Real conversions: test/guests.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, test } from "node:test";
import { checkGuestTools } from "../../src/migration/check/guest.ts";
import { startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { runCommand } from "./cli-commands.ts";
import { assertFailure, migrateWell } from "./migrate-checks.ts";

let lab: Lab;
before(async () => {
  const fill = { seed: 5, dataRatio: 0.6, zeroRatio: 0.1 };
  const disks = [{ capacityBytes: 2 << 20, fill }];
  const vms = ["one", "two", "three"].map((name) => ({ name, disks }));
  lab = await startLab({ targets: "direct", vms });
});
after(() => lab?.stop());

function convert(...args: string[]) {
  return startCli({ args: ["convert", "--state-dir", lab.stateDir, ...args] }).result;
}

const convertVm = (vm: LabVm) => convert("--vmware-path", vm.path);

function inState(sql: string): void {
  const db = new DatabaseSync(join(lab.stateDir, "migratekit.db"));
  db.exec(sql);
  db.close();
}

test("a VM that was never synced to its end, or only in part, is not converted", async () => {
  const vm = lab.vm("one");
  assertFailure(await convertVm(vm), 2, /\[usage\].*knows of no run of/);
  await migrateWell(lab, vm);
  const newest = "sequence = (SELECT max(sequence) FROM run WHERE command = 'migrate')";
  for (const [status, why] of [
    ["failed", /did not bring all disks/],
    ["died", /was interrupted/],
    ["running", /was interrupted/],
  ] as const) {
    inState(`UPDATE run SET status = '${status}' WHERE ${newest}`);
    const refused = await convertVm(vm);
    assertFailure(refused, 6, /\[not-in-sync\]/, /migratekit migrate/);
    assert.match(refused.stderr, why);
  }
  inState(`UPDATE run SET status = 'completed' WHERE ${newest}`);
  inState("UPDATE disk SET unfinished = 'incremental'");
  assertFailure(await convertVm(vm), 6, /\[not-in-sync\].*disk-2000 did not finish/);
});

test("a target that is not what the last run left, or belongs to a VM, is not converted", async () => {
  const vm = lab.vm("two");
  await migrateWell(lab, vm);
  const { targetFile, exportUri } = lab.targets.disksOf(vm)[0]!;
  const owned = await convert("--disk", exportUri);
  assertFailure(owned, 7, /\[target-owned\].*belongs to disk-2000 of .*two/);
  const missing = await convert("--disk", `${exportUri}-not-there`);
  assertFailure(missing, 5, /\[target-refused\]/);
  const list = await startCli({ args: ["list", "--state-dir", lab.stateDir, "--json"] }).result;
  assert.doesNotMatch(list.stdout, /by.hand/, "a mistake leaves no VM in the list");
  const elsewhere = await convert("--vmware-path", vm.path, "--nbd-targets", "2000:nbd://h:1/x");
  assert.equal(elsewhere.code, 5, elsewhere.stderr);
  await using file = await open(targetFile, "r+");
  await file.write(Buffer.alloc(512, 9), 0, 512, 4096);
  assertFailure(await convertVm(vm), 5, /\[target-mismatch\].*offset 0/);
});

test("a machine without the tools says which package brings them, before anything is done", async (t) => {
  const vm = lab.vm("three");
  await migrateWell(lab, vm);
  const check = await runCommand(lab, "check", vm, { extra: ["--convert"] });
  assert.match(check.stdout, /guest +all is here that a conversion of Linux needs/);
  assert.equal(check.code, 0, check.stdout);
  const { PATH } = process.env;
  const empty = mkdtempSync(join(tmpdir(), "mk-test-"));
  t.after(() => {
    process.env.PATH = PATH;
    rmSync(empty, { recursive: true });
  });
  process.env.PATH = empty;
  const findings = await checkGuestTools({ convert: true, virtioWin: undefined }, undefined);
  const v2v = findings.find(({ message }) => message.includes("virt-v2v-in-place"));
  assert.equal(v2v?.code, "guest-tool-missing");
  assert.match(v2v?.remedy ?? "", /apt-get install virt-v2v/);
  assert.deepEqual(await checkGuestTools({ convert: false, virtioWin: undefined }, undefined), []);
});

test("a guest that nothing converts is told by 'check --convert' already", async () => {
  const bsd = {
    ...{ name: "bsd", guestId: "freebsd14_64Guest", firmware: "bios" as const },
    ...{ secureBoot: false, cpus: 1, memoryMiB: 512, nics: [] },
  };
  await assert.rejects(checkGuestTools({ convert: true, virtioWin: undefined }, bsd), {
    code: "guest-unsupported",
    message: "bsd is FreeBSD (freebsd14_64Guest), for which there is no conversion",
  });
});
