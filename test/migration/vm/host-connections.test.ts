import assert from "node:assert/strict";
import { test } from "node:test";
import { HostConnections, planConnections } from "../../../src/migration/vm/host-connections.ts";

const never = new AbortController().signal;

test("each host has a budget of its own, given out first come first served", async () => {
  const hosts = new HostConnections(4);
  const order: string[] = [];
  const first = await hosts.acquire("esx1", 3, { signal: never });
  using _other = await hosts.acquire("esx2", 4, { signal: never });
  const take = async (name: string, count: number) => {
    const held = await hosts.acquire("esx1", count, { signal: never });
    order.push(name);
    return held;
  };
  const large = take("large", 4);
  const small = take("small", 1); // would fit, but another came first
  await new Promise(setImmediate);
  assert.deepEqual(order, []);
  first[Symbol.dispose]();
  first[Symbol.dispose](); // given back once only
  (await large)[Symbol.dispose]();
  await small;
  assert.deepEqual(order, ["large", "small"]);
});

test("one that gives up waiting lets those behind it through", async () => {
  const hosts = new HostConnections(2);
  const first = await hosts.acquire("esx1", 1, { signal: never });
  const controller = new AbortController();
  let waited = 0;
  const tired = hosts.acquire("esx1", 2, { signal: controller.signal, onWait: () => waited++ });
  const behind = hosts.acquire("esx1", 1, { signal: never });
  controller.abort(new Error("enough"));
  await assert.rejects(tired, /enough/);
  (await behind)[Symbol.dispose]();
  first[Symbol.dispose]();
  assert.equal(waited, 1);
});

test("no plan takes more than the budget, whatever was asked for", () => {
  for (const limit of [1, 2, 3, 5, 24, 52]) {
    for (const parallelVms of [1, 4, 64]) {
      const hosts = new HostConnections(limit, parallelVms);
      for (const parallelDisks of [1, 2, 16]) {
        for (const sourceConnections of [undefined, 1, 8]) {
          for (const diskCount of [1, 3, 60]) {
            const config = { parallelDisks, sourceConnections };
            const plan = planConnections(config, diskCount, hosts);
            assert.ok(plan.total >= 1 && plan.total <= limit, JSON.stringify({ config, plan }));
            assert.ok(plan.parallelDisks <= parallelDisks);
            const each = plan.sourceConnections ?? 1;
            assert.ok(plan.parallelDisks * each <= plan.total);
          }
        }
      }
    }
  }
});

test("a single VM keeps what it was given: two disks measure their connections themselves", () => {
  const plan = planConnections(
    { parallelDisks: 2, sourceConnections: undefined },
    2,
    new HostConnections(24),
  );
  assert.deepEqual(plan, { total: 16, parallelDisks: 2, sourceConnections: undefined });
});
