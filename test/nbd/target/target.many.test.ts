import assert from "node:assert/strict";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { MigratekitError } from "../../../src/errors.ts";
import { lookAtTargets, type TargetToCheck } from "../../../src/nbd/target/look.ts";
import { findFreePort } from "../../lab/ports.ts";
import { createVolume, startNbdServer } from "../../lab/targets.ts";
import { Scratch } from "../vddk-fixture.ts";

const mib = 1 << 20;

function disks(count: number, uriOf: (name: string) => string): TargetToCheck[] {
  return Array.from({ length: count }, (_, at) => ({
    key: 2000 + at,
    label: `Hard disk ${at + 1}`,
    capacityBytes: mib,
    endpoint: { uri: uriOf(`vol-${2000 + at}`) },
  }));
}

async function startVolumes(scratch: Scratch, count: number) {
  const names = Array.from({ length: count }, (_, at) => `vol-${2000 + at}`);
  const exports = names.map((name) => ({ name, file: join(scratch.dir, `${name}.raw`) }));
  for (const { file } of exports) await createVolume(file, mib);
  return await startNbdServer({ exports, folder: scratch.dir });
}

/** In front of a server; `greets` says whether its n-th connection (from 1) is handed on at all. */
async function startRelay(targetPort: number, greets: (connection: number) => boolean) {
  const open = new Set<Socket>();
  let accepted = 0;
  let mostAtOnce = 0;
  const server = createServer((client) => {
    accepted += 1;
    open.add(client);
    mostAtOnce = Math.max(mostAtOnce, open.size);
    client.on("error", () => {});
    client.on("close", () => open.delete(client));
    if (!greets(accepted)) return;
    const upstream = connect(targetPort, "127.0.0.1");
    upstream.on("error", () => client.destroy());
    client.pipe(upstream).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  assert.ok(address && typeof address === "object");
  const { port } = address;
  return {
    uriOf: (name: string) => `nbd://127.0.0.1:${port}/${name}`,
    accepted: () => accepted,
    mostAtOnce: () => mostAtOnce,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

test("however many targets a server has, four are looked at at once", async () => {
  await using scratch = await Scratch.make();
  await using server = await startVolumes(scratch, 40);
  await using relay = await startRelay(server.port, () => true);
  const { infos, failures } = await lookAtTargets(disks(40, relay.uriOf), {});
  assert.deepEqual(failures, []);
  assert.equal(infos.size, 40);
  assert.equal(relay.mostAtOnce(), 4);
});

test("a look that had no greeting is made again over another connection", async () => {
  await using scratch = await Scratch.make();
  await using server = await startVolumes(scratch, 6);
  // As an accept queue without room does: connected, and nothing comes.
  await using relay = await startRelay(server.port, (connection) => connection > 3);
  const { infos, failures } = await lookAtTargets(disks(6, relay.uriOf), { timeoutMs: 5_000 });
  assert.deepEqual(failures, []);
  assert.equal(infos.size, 6);
  // Three of the six were looked at again, or more where this machine is slow to greet.
  assert.ok(relay.accepted() >= 9, `${relay.accepted()} connections`);
});

test("many VMs at once, more looks than the accept queue holds, all get through", async () => {
  await using scratch = await Scratch.make();
  await using server = await startVolumes(scratch, 64);
  const all = disks(64, server.uriOf.bind(server));
  const vms = Array.from({ length: 16 }, (_, vm) => all.slice(vm * 4, vm * 4 + 4));
  for (let round = 0; round < 3; round++) {
    const looks = await Promise.all(vms.map((targets) => lookAtTargets(targets, {})));
    assert.deepEqual(
      looks.flatMap(({ failures }) => failures),
      [],
    );
    assert.equal(
      looks.reduce((sum, { infos }) => sum + infos.size, 0),
      64,
    );
  }
});

test("a server that never greets is given up after five looks, within the time given", async () => {
  await using relay = await startRelay(0, () => false);
  const { failures } = await lookAtTargets(disks(1, relay.uriOf), { timeoutMs: 600 });
  const [failure] = failures;
  assert.ok(failure instanceof MigratekitError);
  assert.equal(failure.code, "target-unreachable");
  assert.match(failure.message, /the server did not answer within 600 ms/);
  assert.equal(relay.accepted(), 5);
});

test("of a server that is away only the first targets are tried, and the others told of together", async () => {
  await using scratch = await Scratch.make();
  await using server = await startVolumes(scratch, 2);
  const port = await findFreePort();
  const away = disks(9, (name) => `nbd://127.0.0.1:${port}/${name}`);
  const here = disks(2, server.uriOf.bind(server)).map((disk) => ({
    ...disk,
    key: disk.key + 100,
  }));
  const { infos, failures } = await lookAtTargets([...away, ...here], {});
  assert.deepEqual([...infos.keys()].sort(), [2100, 2101]);
  const messages = failures.map((failure) => (failure as MigratekitError).message);
  assert.equal(messages.length, 5);
  for (const message of messages.slice(0, 4)) assert.match(message, /cannot be reached: /);
  assert.match(
    messages[4] ?? "",
    /127\.0\.0\.1:\d+ cannot be reached, so the targets of disk-2004, .*disk-2008 there were not looked at$/,
  );
});
