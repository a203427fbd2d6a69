import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";
import { findFreePort, listensAt } from "../lab/ports.ts";

// Its socket has a higher number than the descriptors that it opens and closes all the time.
const busyListener = `
  const fs = require("node:fs");
  const spare = fs.openSync("/dev/null");
  const server = require("node:net").createServer().listen(0, "127.0.0.1", () => {
    fs.closeSync(spare);
    console.log(server.address().port);
    setImmediate(function churn() {
      for (let i = 0; i < 200; i++) fs.closeSync(fs.openSync("/dev/null"));
      setImmediate(churn);
    });
  });`;

test("a process owns its port while its other descriptors come and go, and alone", async () => {
  const child = spawn(process.execPath, ["-e", busyListener], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    const port = Number(line.toString());
    for (let look = 0; look < 500; look++) assert.equal(listensAt(child.pid!, port), true);
    assert.equal(listensAt(process.pid, port), false);
    assert.equal(listensAt(child.pid!, await findFreePort()), false);
  } finally {
    const ended = once(child, "exit");
    child.kill();
    await ended;
  }
});

test("a process that is gone owns no port, whoever has it now", async () => {
  await using server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  assert.equal(listensAt(process.pid, port), true);
  const child = spawn("true");
  await once(child, "exit");
  assert.equal(listensAt(child.pid!, port), false);
});
