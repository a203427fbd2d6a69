import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { type TestContext, test } from "node:test";
import { Line } from "../lab/line.ts";
import { until } from "../until.ts";

const listening = async (server: Server) => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
};

/** A line to who gives back what it gets. */
async function start(t: TestContext) {
  const echo = createServer((socket) => socket.pipe(socket).on("error", () => {}));
  t.after(() => echo.close());
  const front = createServer();
  const port = await listening(front);
  const line = new Line(front, await listening(echo));
  t.after(() => line[Symbol.asyncDispose]());
  const call = () => {
    const socket = connect(port, "127.0.0.1");
    const heard = { text: "", ended: false };
    socket.on("data", (chunk) => {
      heard.text += chunk;
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      heard.ended = true;
    });
    t.after(() => socket.destroy());
    return { socket, heard };
  };
  return { line, call };
}

test("what is sent over a silent line arrives when it is mended, that of later callers too", async (t) => {
  const { line, call } = await start(t);
  const first = call();
  first.socket.write("one ");
  await until("it is heard", () => first.heard.text === "one ");
  line.cut("silent");
  const second = call();
  await once(second.socket, "connect");
  first.socket.write("two");
  second.socket.write("three");
  assert.equal(first.heard.text, "one ");
  assert.equal(second.heard.text, "");
  line.mend();
  await until(
    "all is heard",
    () => first.heard.text === "one two" && second.heard.text === "three",
  );
  assert.ok(!first.heard.ended && !second.heard.ended);
});

test("a refused line ends who speaks and who calls, until it is mended", async (t) => {
  const { line, call } = await start(t);
  const first = call();
  first.socket.write("one");
  await until("it is heard", () => first.heard.text === "one");
  line.cut("refused");
  await until("it ended", () => first.heard.ended);
  const second = call();
  await until("it ended too", () => second.heard.ended);
  line.mend();
  const third = call();
  third.socket.write("three");
  await until("it is heard", () => third.heard.text === "three");
});
