import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { findTargetHolder, TargetLocks } from "../../../src/state/lock/target-lock.ts";
import { type Fixture, rejection, startFixture, vm } from "../helpers.ts";

/** No test meets another's target. */
function targetName(): string {
  return `localhost:10809#${randomUUID()}`;
}

async function ask(fixture: Fixture, request: string): Promise<string> {
  fixture.process.stdin.write(`${request}\n`);
  return (await fixture.line()) ?? "it ended";
}

test("a target that another process writes to is refused, and the process is named", async (t) => {
  const name = targetName();
  const holder = startFixture(t, "target-locker.ts");
  assert.equal(await findTargetHolder(name), undefined);
  assert.equal(await ask(holder, `take ${name}`), `held ${holder.process.pid}`);
  await using locks = new TargetLocks("/DC/vm/other");
  const error = await rejection(locks.take([targetName(), name]), "locked");
  assert.equal(error.exitCode, 7);
  assert.ok(error.message.includes(`${name}: process ${holder.process.pid}, started 20`));
  assert.ok(error.message.endsWith(`for ${vm.vmPath}`));
  const found = await findTargetHolder(name);
  assert.ok(typeof found === "object" && found.pid === holder.process.pid);
  assert.equal(await ask(holder, "release"), "released");
  await locks.take([name]);
  await locks.take([name]); // what is held already is not asked for again
});

test("the kernel frees the targets of a killed process at once, a stopped one goes on holding", async (t) => {
  const name = targetName();
  for (let round = 0; round < 5; round++) {
    const holder = startFixture(t, "target-locker.ts");
    assert.match(await ask(holder, `take ${name}`), /^held/);
    holder.process.kill("SIGSTOP");
    await using locks = new TargetLocks("/DC/vm/other");
    if (round === 0) {
      const error = await rejection(locks.take([name]), "locked");
      assert.match(error.message, /a process that does not say who it is$/);
    }
    holder.process.kill("SIGKILL");
    assert.equal(await holder.ended(), "SIGKILL");
    await locks.take([name]);
  }
});

test("of two processes racing 50 times for the same targets exactly one gets them", async (t) => {
  const racers = [1, 2].map(() => startFixture(t, "target-locker.ts"));
  const wins = new Set<number | undefined>();
  for (let round = 0; round < 50; round++) {
    const [one, two] = [targetName(), targetName()];
    const requests = [`take ${one} ${two}`, `take ${two} ${one}`];
    const answers = await Promise.all(racers.map((racer, at) => ask(racer, requests[at]!)));
    const winners = racers.filter((_, at) => answers[at]?.startsWith("held"));
    assert.equal(winners.length, 1, answers.join(" / "));
    wins.add(winners[0]?.process.pid);
    await ask(winners[0]!, "release");
  }
  t.diagnostic(`won by ${wins.size} of the two`);
});
