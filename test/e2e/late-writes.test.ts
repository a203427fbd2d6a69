// What a run that was killed had sent on its way arrives after its end, over what the next one wrote.

import assert from "node:assert/strict";
import { open } from "node:fs/promises";
import { after, before, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Relay } from "../lab/relay.ts";
import { type CliRun, startCli } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import type { VmSpec } from "../lab/vcenter/vm-spec.ts";
import { until } from "../until.ts";
import { assertEqualTargets, assertNoSnapshot } from "./migrate-checks.ts";

const key = 2000;
const mib = 1024 * 1024;
const writtenBytes = 12 * mib;
const heldBytes = 2 * mib;

let lab: Lab;
let relay: Relay;
let count = 0;
before(async () => {
  lab = await startLab({ targets: "direct" });
  relay = await Relay.start(lab.targets.port);
});
after(async () => {
  await relay[Symbol.asyncDispose]();
  await lab.stop();
});
beforeEach(() => relay.pass());

async function addMachine(spec: Partial<VmSpec> = {}): Promise<LabVm> {
  const disks = [{ key, capacityBytes: 16 * mib }];
  return await lab.addVm({ name: `late-${++count}`, disks, ...spec });
}

interface Started extends CliRun {
  /** Resolves when a line of the log holds the text, or the run ends without it. */
  logged(text: string): Promise<void>;
}

function start(vm: LabVm, ...extra: string[]): Started {
  return startAs("migrate", vm, extra);
}

function startAs(command: string, vm: LabVm, extra: string[]): Started {
  const [target] = lab.targets.disksOf(vm);
  const uri = target!.exportUri.replace(`:${lab.targets.port}/`, `:${relay.port}/`);
  let log = "";
  const [, ...args] = lab.migrateArgs(vm, { extra: ["--nbd-targets", `${key}:${uri}`, ...extra] });
  const run = startCli({
    args: [command, ...args],
    onStderrLine: (line) => {
      log += `${line}\n`;
    },
  });
  const logged = async (text: string) => {
    await until(text, () => log.includes(text) || run.child.exitCode !== null);
  };
  return { ...run, logged };
}

async function succeed(run: CliRun): Promise<string> {
  const { code, stderr } = await run.result;
  assert.equal(code, 0, stderr);
  return stderr;
}

/** A run dies with writes under way. */
async function killMidway(vm: LabVm, ...extra: string[]): Promise<void> {
  relay.hold();
  const run = start(vm, ...extra);
  await until("writes are held", () => relay.heldBytes >= heldBytes || run.child.exitCode !== null);
  assert.equal(run.child.exitCode, null, "it was copying");
  run.child.kill("SIGKILL");
  await run.result;
  relay.pass();
}

async function overwrite(vm: LabVm, byte: number): Promise<void> {
  await vm.write(key, 0, Buffer.alloc(writtenBytes, byte));
}

const waiting = "waiting for late writes of an interrupted run";
const putRight = /bytes of an interrupted run arrived late over newer ones/;
/** Long enough for what is released to arrive in it. */
const dropTime = ["--target-drop-time", "8s"];
/** A connection that hangs counts as lost at once, even while it flushes. */
const impatient = ["--stall-timeout", "1s", "--flush-timeout", "1s"];

/** A run meets the late writes, succeeds, and leaves the right bytes. */
async function meetLateWrites(vm: LabVm, ...extra: string[]): Promise<void> {
  const run = start(vm, ...dropTime, ...extra);
  await run.logged(waiting);
  await relay.release();
  const log = await succeed(run);
  await assertEqualTargets(lab, vm);
  assert.match(log, putRight);
}

for (const kind of ["full", "incremental"]) {
  test(`late writes of a killed ${kind} copy are waited for and put right before the next run succeeds`, async () => {
    const vm = await addMachine();
    await overwrite(vm, 1);
    if (kind === "incremental") {
      await succeed(start(vm));
      await overwrite(vm, 2);
    }
    await killMidway(vm);
    await overwrite(vm, 3);
    await meetLateWrites(vm);
    assert.doesNotMatch(await succeed(start(vm, ...dropTime)), /waiting/, "once is enough");
  });
}

test("a killed run's kernel throws away what it has not sent", async () => {
  const vm = await addMachine();
  await overwrite(vm, 1);
  const earlier = relay.endings.length;
  await killMidway(vm);
  relay.readOn();
  await until("the connections end", () => relay.endings.length > earlier);
  await relay.release();
  assert.deepEqual([...new Set(relay.endings.slice(earlier))], ["ECONNRESET"]);
  await succeed(start(vm));
  await assertEqualTargets(lab, vm);
});

test("late writes to the target of a disk without change tracking are looked for everywhere", async () => {
  const vm = await addMachine({ changeTrackingSupported: false });
  await overwrite(vm, 1);
  await killMidway(vm);
  await overwrite(vm, 2);
  await meetLateWrites(vm);
});

test("a run that is killed while it waits leaves the looking to the next one", async () => {
  const vm = await addMachine();
  await overwrite(vm, 1);
  await killMidway(vm);
  await overwrite(vm, 2);
  const run = start(vm, "--target-drop-time", "10m");
  await run.logged(waiting);
  run.child.kill("SIGKILL");
  await run.result;
  await relay.release();
  const log = await succeed(start(vm));
  await assertEqualTargets(lab, vm);
  assert.match(log, /late over newer ones|does not hold what the interrupted run wrote/);
});

test("a run that waits for late writes ends politely at a signal", async () => {
  const vm = await addMachine();
  await overwrite(vm, 1);
  await killMidway(vm);
  await overwrite(vm, 2);
  const run = start(vm, "--target-drop-time", "10m");
  await run.logged(waiting);
  run.child.kill("SIGTERM");
  const { code, signal } = await run.result;
  assert.ok(code === 143 || signal === "SIGTERM", `${code} ${signal}`);
  assertNoSnapshot(vm);
  await relay.release();
  await succeed(start(vm));
  await assertEqualTargets(lab, vm);
});

test("a run that lost a connection with writes under way, and succeeded, is reckoned with too", async () => {
  const vm = await addMachine();
  await overwrite(vm, 1);
  relay.hold();
  const run = start(vm, ...impatient);
  await until("writes are held", () => relay.heldBytes >= heldBytes || run.child.exitCode !== null);
  relay.pass();
  assert.match(await succeed(run), /trying again: target/);
  await assertEqualTargets(lab, vm);
  await overwrite(vm, 2);
  await meetLateWrites(vm);
});

test("a run that was stopped beyond every limit keeps others off, and does no harm when it goes on", async () => {
  const vm = await addMachine();
  await overwrite(vm, 1);
  relay.hold();
  const run = start(vm, ...impatient);
  await until("writes are held", () => relay.heldBytes >= heldBytes || run.child.exitCode !== null);
  run.child.kill("SIGSTOP");
  relay.pass();
  await overwrite(vm, 2);
  const other = await start(vm).result;
  assert.equal(other.code, 7, other.stderr);
  await sleep(3000);
  run.child.kill("SIGCONT");
  const { code, stderr } = await run.result;
  assert.ok(code === 0 || code === 5, stderr);
  if (code === 0) await assertEqualTargets(lab, vm);
  await meetLateWrites(vm);
});

/** Somebody writes over part of the target. */
async function spoilTarget(vm: LabVm): Promise<void> {
  const { targetFile } = lab.targets.disksOf(vm)[0]!;
  await using file = await open(targetFile, "r+");
  const bytes = Buffer.alloc(writtenBytes - mib, 9);
  await file.write(bytes, 0, bytes.length, mib);
}

test("a repair that is killed with writes under way is reckoned with by the next run", async () => {
  const vm = await addMachine();
  await overwrite(vm, 1);
  await succeed(start(vm));
  await spoilTarget(vm);
  relay.hold();
  const repair = startAs("verify", vm, ["--repair"]);
  await until("held", () => relay.heldBytes >= heldBytes || repair.child.exitCode !== null);
  repair.child.kill("SIGKILL");
  await repair.result;
  relay.pass();
  await overwrite(vm, 2);
  await meetLateWrites(vm, "--on-target-mismatch", "full");
});

test("a repair after an interrupted run leaves the looking for late writes to the next run", async () => {
  const vm = await addMachine();
  await overwrite(vm, 1);
  await succeed(start(vm));
  await overwrite(vm, 2);
  await killMidway(vm);
  await succeed(startAs("verify", vm, ["--repair"]));
  await overwrite(vm, 3);
  await meetLateWrites(vm);
  assert.doesNotMatch(await succeed(start(vm, ...dropTime)), /waiting/, "once is enough");
});

test("a repair that ends well leaves nothing to wait for", async () => {
  const vm = await addMachine();
  await overwrite(vm, 1);
  await succeed(start(vm));
  await spoilTarget(vm);
  assert.match((await startAs("verify", vm, ["--repair"]).result).stdout, /repaired/);
  await overwrite(vm, 2);
  assert.doesNotMatch(await succeed(start(vm, ...dropTime)), /waiting/);
  await assertEqualTargets(lab, vm);
});
