import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { isVmLocked, VmLock } from "../../../src/state/lock/lock.ts";
import {
  type Fixture,
  fixtureCommand,
  refusal,
  startCommand,
  startFixture,
  temporaryDirectory,
  vm,
} from "../helpers.ts";

const uuid = vm.instanceUuid;
const holderPath = (stateDir: string) => join(stateDir, "locks", `${uuid}.holder`);

async function ask(fixture: Fixture, line: string): Promise<string> {
  fixture.process.stdin.write(`${line}\n`);
  return (await fixture.line()) ?? "died";
}

async function startHolder(t: TestContext, stateDir: string): Promise<Fixture> {
  const holder = startFixture(t, "locker.ts", stateDir);
  assert.match(await ask(holder, `acquire ${uuid}`), /^held/);
  return holder;
}

test("the second run is refused with PID, host and start of the first", async (t) => {
  const stateDir = temporaryDirectory(t);
  const holder = await startHolder(t, stateDir);
  const startMs = performance.now();
  const error = refusal(() => VmLock.acquire(stateDir, uuid.toUpperCase(), vm), "locked");
  assert.ok(performance.now() - startMs < 1000, "within a second");
  assert.equal(error.exitCode, 7);
  assert.equal(error.context.pid, holder.process.pid);
  assert.equal(error.context.host, hostname());
  const { startedAt } = JSON.parse(readFileSync(holderPath(stateDir), "utf8"));
  assert.ok(error.message.includes(`process ${holder.process.pid} on ${hostname()}, started `));
  assert.ok(error.message.includes(startedAt));
  assert.ok(error.message.includes(vm.vmPath));
});

test("a released lock is free and its holder's name is gone", async (t) => {
  const stateDir = temporaryDirectory(t);
  const holder = await startHolder(t, stateDir);
  assert.equal(isVmLocked(stateDir, uuid)?.pid, holder.process.pid);
  assert.equal(await ask(holder, "release"), "released");
  assert.equal(isVmLocked(stateDir, uuid), undefined);
  assert.equal(existsSync(holderPath(stateDir)), false);
  VmLock.acquire(stateDir, uuid, vm).release();
});

test("the kernel frees the lock of a killed holder at once, although its name stays", async (t) => {
  const stateDir = temporaryDirectory(t);
  for (let round = 0; round < 10; round++) {
    const holder = await startHolder(t, stateDir);
    refusal(() => VmLock.acquire(stateDir, uuid, vm), "locked");
    holder.process.kill("SIGKILL");
    assert.equal(await holder.ended(), "SIGKILL");
    assert.ok(existsSync(holderPath(stateDir)), "the stale name is there");
    assert.equal(isVmLocked(stateDir, uuid), undefined);
    using _lock = VmLock.acquire(stateDir, uuid, vm);
    assert.equal(isVmLocked(stateDir, uuid)?.pid, process.pid);
  }
});

test("a holder that is stopped still holds", async (t) => {
  const stateDir = temporaryDirectory(t);
  const holder = await startHolder(t, stateDir);
  holder.process.kill("SIGSTOP");
  const error = refusal(() => VmLock.acquire(stateDir, uuid, vm), "locked");
  assert.equal(error.context.pid, holder.process.pid);
});

test("of two processes racing 100 times exactly one wins and the other names it", async (t) => {
  const stateDir = temporaryDirectory(t);
  const racers = [1, 2].map(() => startFixture(t, "locker.ts", stateDir));
  const wins = new Map<number | undefined, number>();
  for (let round = 0; round < 100; round++) {
    const answers = await Promise.all(racers.map((racer) => ask(racer, `acquire race-${round}`)));
    const winners = racers.filter((_, index) => answers[index]?.startsWith("held"));
    assert.equal(winners.length, 1, answers.join(" / "));
    const pid = winners[0]?.process.pid;
    wins.set(pid, (wins.get(pid) ?? 0) + 1);
    const loser = answers.find((answer) => !answer.startsWith("held"));
    assert.match(loser ?? "", new RegExp(`^locked \\d+ ms ${pid} `));
    await Promise.all(winners.map((winner) => ask(winner, "release")));
  }
  t.diagnostic(`wins: ${[...wins.values()].join(" to ")}`);
});

test("racers for a lock whose holder was just killed: one takes it over", async (t) => {
  const stateDir = temporaryDirectory(t);
  const racers = [1, 2].map(() => startFixture(t, "locker.ts", stateDir));
  for (let round = 0; round < 10; round++) {
    const holder = await startHolder(t, stateDir);
    holder.process.kill("SIGKILL");
    await holder.ended();
    const answers = await Promise.all(racers.map((racer) => ask(racer, `acquire ${uuid}`)));
    const winners = racers.filter((_, index) => answers[index]?.startsWith("held"));
    assert.equal(winners.length, 1, answers.join(" / "));
    const loser = answers.find((answer) => !answer.startsWith("held"));
    assert.match(loser ?? "", new RegExp(`^locked \\d+ ms ${winners[0]?.process.pid} `));
    await Promise.all(winners.map((winner) => ask(winner, "release")));
  }
});

test("the name of a process whose PID was used again is not believed", async (t) => {
  const stateDir = temporaryDirectory(t);
  const holder = await startHolder(t, stateDir);
  const info = JSON.parse(readFileSync(holderPath(stateDir), "utf8"));
  // As if the name were of an earlier process with the PID that is ours now.
  writeFileSync(holderPath(stateDir), JSON.stringify({ ...info, pid: process.pid }));
  const error = refusal(() => VmLock.acquire(stateDir, uuid, vm), "locked");
  assert.equal(error.context.pid, undefined);
  assert.match(error.message, /a process that has not left its name/);
  holder.process.kill("SIGKILL");
  await holder.ended();
  VmLock.acquire(stateDir, uuid, vm).release(); // and does not keep anybody out
});

for (const [name, text] of [
  ["empty", ""],
  ["no JSON", "{"],
  ["of another form", '{"pid":"1"}'],
] as const) {
  test(`a holder's name that is ${name} neither locks nor confuses`, async (t) => {
    const stateDir = temporaryDirectory(t);
    const holder = await startHolder(t, stateDir);
    writeFileSync(holderPath(stateDir), text);
    assert.match(
      refusal(() => VmLock.acquire(stateDir, uuid, vm), "locked").message,
      /not left its name/,
    );
    assert.equal(isVmLocked(stateDir, uuid)?.token, "");
    await ask(holder, "release");
    writeFileSync(holderPath(stateDir), text);
    assert.equal(isVmLocked(stateDir, uuid), undefined);
    VmLock.acquire(stateDir, uuid, vm).release();
  });
}

test("a name from another host is reported although it cannot be checked", async (t) => {
  const stateDir = temporaryDirectory(t);
  await startHolder(t, stateDir);
  const info = JSON.parse(readFileSync(holderPath(stateDir), "utf8"));
  const elsewhere = { ...info, bootId: "another", host: "appliance-2", pid: 4711 };
  writeFileSync(holderPath(stateDir), JSON.stringify(elsewhere));
  const error = refusal(() => VmLock.acquire(stateDir, uuid, vm), "locked");
  assert.match(error.message, /process 4711 on appliance-2/);
});

test("one process cannot take the lock of a VM twice, but those of two VMs", async (t) => {
  const stateDir = temporaryDirectory(t);
  using first = VmLock.acquire(stateDir, uuid, vm);
  const error = refusal(() => VmLock.acquire(stateDir, uuid, vm), "locked");
  assert.equal(error.context.pid, process.pid);
  assert.equal(isVmLocked(stateDir, uuid)?.token, first.token);
  // Closing the descriptors of those attempts must not drop this process's POSIX lock.
  const other = startFixture(t, "locker.ts", stateDir);
  assert.match(await ask(other, `acquire ${uuid}`), new RegExp(`^locked \\d+ ms ${process.pid} `));
  using _second = VmLock.acquire(stateDir, "../strange name", vm);
  assert.equal(readdirSync(stateDir).join(), "locks");
});

test("asking whether a VM is locked creates nothing", (t) => {
  const stateDir = temporaryDirectory(t);
  assert.equal(isVmLocked(stateDir, uuid), undefined);
  assert.deepEqual(readdirSync(stateDir), []);
});

test("asking all the time does not keep a run from its lock", async (t) => {
  const stateDir = temporaryDirectory(t);
  const run = await startHolder(t, stateDir);
  let asking = true;
  const asker = (async () => {
    while (asking) {
      for (let i = 0; i < 200; i++) isVmLocked(stateDir, uuid);
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  for (let round = 0; round < 20; round++) {
    await ask(run, "release");
    assert.match(await ask(run, `acquire ${uuid}`), /^held/);
  }
  asking = false;
  await asker;
});

test("a lock outlives every reference to it", async (t) => {
  const stateDir = temporaryDirectory(t);
  const [node = "", ...rest] = fixtureCommand("locker.ts", stateDir);
  const holder = startCommand(t, [node, "--expose-gc", ...rest]);
  assert.match(await ask(holder, `acquire ${uuid}`), /^held/);
  assert.equal(await ask(holder, "leak"), "leaked");
  refusal(() => VmLock.acquire(stateDir, uuid, vm), "locked");
});
