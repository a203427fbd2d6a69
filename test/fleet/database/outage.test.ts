// The database hangs, ends, starts again, or its answers get lost: nothing is lost by that, and nothing done twice.

import assert from "node:assert/strict";
import { connect, createServer, type Socket } from "node:net";
import { after, test } from "node:test";
import { FleetStore } from "../../../src/fleet/database/store.ts";
import { createLogger } from "../../../src/logger.ts";
import { LabPostgres } from "../../lab/postgres.ts";
import { until } from "../../until.ts";
import { alice, bob, bundle, completed, failed, LabFleet, plan, vm } from "./fleet.ts";

const server = await LabPostgres.start({ durable: true });
after(() => server[Symbol.asyncDispose]());

const unreachable = { code: "fleet-database-unreachable", exitCode: 11 };

test("a database that hangs is an error after ten seconds, and goes on where it was", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  await store.apply(plan([vm("a")]));
  const lease = (await store.claim(alice))!;
  server.freeze();
  const frozenMs = performance.now();
  try {
    await Promise.all([
      assert.rejects(store.renew(lease), unreachable),
      assert.rejects(store.push(lease, bundle("late")), unreachable),
      assert.rejects(store.status(), unreachable),
    ]);
  } finally {
    server.thaw();
  }
  assert.ok(performance.now() - frozenMs < 30_000);
  assert.equal(await store.renew(lease), "go-on");
  assert.equal(await store.finish(lease, completed), true);
});

test("after a crash of the database what was promised still holds", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  await store.apply(plan([vm("a"), vm("b")]));
  const lease = (await store.claim(alice))!;
  assert.equal(await store.push(lease, bundle("durable")), true);
  await server.kill();
  await assert.rejects(store.renew(lease), unreachable);
  await server.start();
  await until("it answers", () =>
    store.renew(lease).then(
      (word) => word === "go-on",
      () => false,
    ),
  );
  assert.equal(Buffer.from((await store.pull(lease))!.bytes).toString(), "durable");
  const other = (await store.claim(bob))!;
  assert.notEqual(other.vm.name, lease.vm.name);
  assert.ok(other.token > lease.token);
});

test("a bell that was cut off rings again, and once for what was missed", async () => {
  await using fleet = await LabFleet.on(server);
  const store = await fleet.openNew();
  let bells = 0;
  await using _bell = await store.listen(() => bells++);
  await until("it is there", () => bells === 1);
  await store.apply(plan([vm("a")]));
  await until("it rang for a plan", () => bells === 2);
  await fleet.server.psql(
    "postgres",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'",
  );
  await until("it is back", () => bells === 3);
  await store.pause({ all: true });
  await until("it rings again", () => bells === 4);
});

test("a claim or a finish whose answer was lost is found by the next call", async () => {
  await using fleet = await LabFleet.on(server);
  const sure = await fleet.openNew();
  await sure.apply(plan([vm("a"), vm("b")]));
  await using line = await Line.to(server.port);
  const url = `postgres://${fleet.name}@127.0.0.1:${line.port}/${fleet.name}`;
  const silent = createLogger({ level: "silent", pretty: false });
  await using store = await FleetStore.open(url, undefined, silent, { application: "test" });
  await store.status();
  line.loseAnswers();
  await assert.rejects(store.claim(alice), unreachable);
  await until("it was claimed", async () => (await sure.status()).waves[0]!.running === 1);
  const lease = (await store.claim(alice))!;
  assert.equal((await sure.status()).waves[0]!.running, 1, "the same one");
  line.loseAnswers("finish");
  await assert.rejects(store.finish(lease, completed), unreachable);
  await until("it was finished", async () => (await sure.status()).waves[0]!.running === 0);
  assert.equal(await store.finish(lease, failed("bug", 1)), true);
  const [status] = (await sure.status({ vms: [lease.vm.name] })).vms;
  assert.deepEqual(
    status!.syncs.map((run) => run.status),
    ["completed"],
  );
});

/** The way to a server, on which one answer gets lost with its connection. */
class Line implements AsyncDisposable {
  readonly #server = createServer((client) => this.#join(client));
  readonly #sockets = new Set<Socket>();
  readonly #target: number;
  /** The next request that holds this text is the last that its connection gets through. */
  #losing: string | undefined;

  private constructor(target: number) {
    this.#target = target;
  }

  static async to(target: number): Promise<Line> {
    const line = new Line(target);
    await new Promise<void>((resolve) => line.#server.listen(0, "127.0.0.1", resolve));
    return line;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  loseAnswers(to = "claim"): void {
    this.#losing = `migratekit.${to}(`;
  }

  #join(client: Socket): void {
    const server = connect(this.#target, "127.0.0.1");
    let lost = false;
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => [client, server].map((each) => each.destroy()));
    }
    client.on("data", (bytes: Buffer) => {
      if (this.#losing !== undefined && bytes.includes(this.#losing)) {
        lost = true;
        this.#losing = undefined;
      }
      server.write(bytes);
    });
    server.on("data", (bytes: Buffer) => {
      if (lost) client.destroy();
      else client.write(bytes);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
