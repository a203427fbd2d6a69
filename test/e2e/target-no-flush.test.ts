import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { StateDatabase } from "../../src/state/database/database.ts";
import { DiskRecords } from "../../src/state/disk-records.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import { createVolume, startNbdServer } from "../lab/targets.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import { runCommand } from "./cli-commands.ts";
import { assertFailure } from "./migrate-checks.ts";

const key = 2000;
let lab: Lab;
let vm: LabVm;
let toServer: string[];
const servers = new AsyncDisposableStack();
before(async () => {
  lab = await startLab({ targets: "direct" });
  vm = lab.vm("MyVM");
  const file = join(lab.dir, "volume.raw");
  await createVolume(file, vm.disk(key).record.capacityBytes);
  // nbd-server's own defaults
  const settings = { flush: "false", fua: "false", trim: "false" };
  const folder = join(lab.dir, "no-flush");
  const server = await startNbdServer({ exports: [{ name: "volume", file, settings }], folder });
  servers.use(server);
  toServer = ["--nbd-targets", `${key}:${server.uri}`];
});
after(async () => {
  await servers.disposeAsync();
  await lab.stop();
});

const cause = /\[target-no-flush\].*disk-2000, offers no flush/;
const remedy = /flush = true.*--accept-no-flush/;

for (const command of ["migrate", "cutover"] as const) {
  test(`${command} refuses a target without flush before the VM is touched`, async () => {
    lab.vcenter.log.clear();
    const extra = [...toServer, ...(command === "cutover" ? ["--yes"] : [])];
    assertFailure(await runCommand(lab, command, vm, { extra }), 5, cause, remedy);
    const calls = lab.vcenter.log.calls.map(({ method }) => method);
    assert.ok(!calls.includes("CreateSnapshot_Task"), calls.join());
  });
}

test("check says it before, and what --accept-no-flush would make of it", async () => {
  const refused = await runCommand(lab, "check", vm, { extra: toServer });
  assert.equal(refused.code, 5, refused.stdout);
  assert.match(refused.stdout, /offers no flush/);
  const extra = [...toServer, "--accept-no-flush"];
  const accepted = await runCommand(lab, "check", vm, { extra });
  assert.equal(accepted.code, 0, accepted.stdout);
  assert.match(accepted.stdout, /offers no flush.*may undo what is called done/);
});

test("with --accept-no-flush every run works and says what that means", async () => {
  for (const type of ["full", "incremental"]) {
    await vm.randomWrites(key, { seed: type.length, writes: 3 });
    const run = await lab.migrate(vm, { extra: [...toServer, "--accept-no-flush", "--json"] });
    assert.equal(run.code, 0, run.stderr);
    assert.equal(JSON.parse(run.stdout).sync_type, type);
    assert.match(run.stderr, /offers no flush.*may undo what is called done/);
  }
  using state = StateDatabase.open(lab.stateDir);
  const [record] = new DiskRecords(state).listDisks({
    endpoint: lab.vcenter.endpoint,
    instanceUuid: vm.record.instanceUuid,
    vmPath: vm.path,
  });
  assert.ok(record?.changeId);
});

test("a comparison writes nothing and needs no flush; a repair does", async () => {
  const compared = await runCommand(lab, "verify", vm, { extra: toServer });
  assert.equal(compared.code, 0, compared.stderr);
  const extra = [...toServer, "--repair"];
  assertFailure(await runCommand(lab, "verify", vm, { extra }), 5, cause, remedy);
});
