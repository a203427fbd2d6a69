/** A lease as it is held, against a fleet's database that answers as it is told to. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import pino from "pino";
import { MigratekitError } from "../../../src/errors.ts";
import type { Lease, LeaseWord } from "../../../src/fleet/fleet.ts";
import { HeldLease, type LeaseStore } from "../../../src/fleet/worker/held-lease.ts";
import { type Clocks, Engine, readClocks } from "../../../src/nbd/copy-engine/copy-engine.ts";
import { State } from "../../../src/state/state.ts";
import { temporaryDirectory } from "../../state/helpers.ts";
import { until } from "../../until.ts";

const ttlMs = 1200;

const lease: Lease = {
  ...{ vmId: 1, token: 7n, nonce: "n", action: "migrate", takenOver: false, ttlMs },
  hostConnections: 24,
  vm: {
    ...{ name: "web01", endpoint: "vc:443", vmPath: "/DC/vm/web01", wave: "1", priority: 0 },
    ...{ schedule: { kind: "once" }, syncWindows: [], cutoverWindows: [], after: [], labels: [] },
    settings: {},
  },
};

class Answers implements LeaseStore {
  word: LeaseWord = "go-on";
  placed: "placed" | "full" | "lost" = "placed";
  down = false;
  pushed = true;
  readonly calls: string[] = [];

  async renew(): Promise<LeaseWord> {
    return this.#answer("renew", this.word);
  }
  async place() {
    return this.#answer("place", this.placed);
  }
  async push(): Promise<boolean> {
    return this.#answer("push", this.pushed);
  }
  #answer<T>(call: string, answer: T): T {
    this.calls.push(call);
    if (this.down) throw new MigratekitError("fleet-database-unreachable", "down");
    return answer;
  }
}

/** The engine's deadline as it was last set. */
class Watched extends Engine {
  until: Clocks | undefined;
  override writeUntil(until: Clocks): void {
    this.until = until;
    super.writeUntil(until);
  }
  get mayWrite(): boolean {
    return this.until !== undefined && readClocks().bootMs < this.until.bootMs;
  }
}

async function hold(t: TestContext) {
  const store = new Answers();
  const stateDir = temporaryDirectory(t);
  State.open(stateDir).close();
  const logger = pino({ level: "silent" });
  const held = new HeldLease(lease, { store, stateDir, logger, progress: () => undefined });
  t.after(() => held[Symbol.asyncDispose]());
  const engine = new Watched();
  t.after(() => engine[Symbol.dispose]());
  held.guard(engine);
  return { store, held, engine };
}

test("an engine may not write before the lease was renewed once, and then until shortly before its end", async (t) => {
  const { held, engine } = await hold(t);
  assert.equal(engine.mayWrite, false);
  const before = readClocks().bootMs;
  await held.renew();
  assert.equal(engine.mayWrite, true);
  const lengthMs = engine.until!.bootMs - before;
  assert.ok(lengthMs < ttlMs && lengthMs >= ttlMs * 0.8, `${lengthMs} ms`);
});

test("while the database does not answer writing ends by itself and the lease is kept; then it goes on", async (t) => {
  const { store, held, engine } = await hold(t);
  await held.renew();
  store.down = true;
  await until("the deadline passes", () => !engine.mayWrite);
  assert.equal(held.signal.aborted, false);
  const [asked] = [store.calls.length];
  await until("it goes on trying", () => store.calls.length > asked + 2);
  store.down = false;
  await until("it may write again", () => engine.mayWrite);
  assert.equal(held.signal.aborted, false);
});

/** A source that says whether it is open. */
class Watchable {
  open = true;
  async pause() {
    this.open = false;
  }
  async resume() {
    this.open = true;
  }
}

test("sources are closed when writing ends, those too that come later, and opened when it goes on, but none that was let go", async (t) => {
  const { store, held, engine } = await hold(t);
  await held.renew();
  const [first, ended, late] = [new Watchable(), new Watchable(), new Watchable()];
  held.guardSource(first);
  const guard = held.guardSource(ended);
  store.down = true;
  await until("they are closed", () => !first.open && !ended.open);
  assert.equal(engine.mayWrite, false);
  held.guardSource(late);
  assert.equal(late.open, false);
  guard[Symbol.dispose]();
  store.down = false;
  await until("they are open", () => first.open && late.open);
  assert.equal(ended.open, false);
});

test("a barrier waits until the state is there and the lease holds", async (t) => {
  const { store, held } = await hold(t);
  held.ready();
  store.down = true;
  let passed = false;
  const barrier = held.barrier("the snapshot").then(() => {
    passed = true;
  });
  await until("it tried twice", () => store.calls.filter((call) => call === "push").length > 1);
  assert.equal(passed, false);
  store.down = false;
  await barrier;
  const last = store.calls.lastIndexOf("push");
  assert.ok(store.calls.indexOf("renew", last) > last, "it was not renewed after the push");
});

test("a lease that is lost ends the run by an error of its own, wherever that is heard of", async (t) => {
  const isLost = (error: unknown) =>
    error instanceof MigratekitError && error.code === "fleet-lease-lost";
  for (const where of ["renewal", "push", "place", "barrier"] as const) {
    const { store, held } = await hold(t);
    held.ready();
    if (where === "renewal") {
      store.word = "lost";
      await until("it is heard", () => held.signal.aborted);
    } else if (where === "push") {
      store.pushed = false;
      await assert.rejects(held.barrier("x"), isLost);
    } else if (where === "place") {
      store.placed = "lost";
      await assert.rejects(
        held.place({ host: "h", units: 1, datastores: [], targetServers: [] }),
        isLost,
      );
    } else {
      store.word = "lost";
      await assert.rejects(held.barrier("x"), isLost);
    }
    assert.ok(isLost(held.signal.reason), where);
    await assert.rejects(held.barrier("more"), isLost);
  }
});

test("a host without room ends the run by an error that keeps its turn, and the lease is kept", async (t) => {
  const { store, held } = await hold(t);
  store.placed = "full";
  await assert.rejects(
    held.place({ host: "vc:443 host-1", units: 8, datastores: [], targetServers: [] }),
    (error) => error instanceof MigratekitError && error.code === "fleet-host-full",
  );
  assert.equal(held.signal.aborted, false);
});

test("the fleet's word stop is passed on once, and the lease is renewed on", async (t) => {
  const { store, held } = await hold(t);
  store.word = "stop";
  await until("it is heard", () => held.stop.aborted);
  const asked = store.calls.length;
  await until("it is renewed", () => store.calls.length > asked);
  assert.equal(held.signal.aborted, false);
});
