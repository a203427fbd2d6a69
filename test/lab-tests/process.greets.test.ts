import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { findFreePort } from "../lab/ports.ts";
import { greets } from "../lab/process.ts";

async function greetsWhen(onConnection: (socket: Socket) => void): Promise<boolean> {
  await using server = createServer(onConnection).listen(0, "127.0.0.1");
  await once(server, "listening");
  return await greets((server.address() as AddressInfo).port);
}

test("a server that sends something is one that greets", async () => {
  assert.equal(await greetsWhen((socket) => socket.end("NBDMAGIC")), true);
});

test("a server that goes away before its greeting does not greet", { timeout: 5000 }, async () => {
  assert.equal(await greetsWhen((socket) => socket.end()), false);
});

test("nobody does not greet", async () => {
  assert.equal(await greets(await findFreePort()), false);
});
