import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { OmaApi } from "../../src/oma/oma.ts";
import { changeId, rejection, vm } from "../state/helpers.ts";
import { answerWith, dripForEver, hangUp, neverAnswer, OmaServer } from "./oma-server.ts";

const attempts = 3;
const key = `${vm.vmPath} disk-2000`;
const jobId = "job 1/2";

async function setUp(t: TestContext, options: { baseUrl?: string } = {}) {
  const oma = await OmaServer.start(t, vm.vmPath);
  const api = new OmaApi({
    baseUrl: options.baseUrl ?? oma.url,
    requestTimeoutMs: 250,
    attempts,
    firstDelayMs: 1,
  });
  return { oma, api };
}

for (const [name, answer] of [
  ["404", answerWith(404, "not found")],
  ["204", answerWith(204, "")],
  ["an empty body", answerWith(200, "")],
  ["an empty object", answerWith(200, "{}")],
  ["null", answerWith(200, '{"change_id":null}')],
  ["an empty text", answerWith(200, '{"change_id":""}')],
] as const) {
  test(`the answer ${name} means that there is no change ID`, async (t) => {
    const { oma, api } = await setUp(t);
    oma.fault = answer;
    assert.equal(await api.readChangeId(vm.vmPath, 2000), undefined);
    assert.equal(oma.requests.length, 1);
  });
}

test("a change ID with blanks around it is taken without them", async (t) => {
  const { oma, api } = await setUp(t);
  oma.fault = answerWith(200, JSON.stringify({ change_id: ` ${changeId(3)}\n` }));
  assert.equal(await api.readChangeId(vm.vmPath, 2000), changeId(3));
});

for (const [name, answer, message, requests] of [
  ["HTML", answerWith(200, "<html>proxy</html>"), /not JSON: <html>proxy/, 1],
  ["a list", answerWith(200, "[]"), /not a JSON object/, 1],
  ["an error in an object", answerWith(200, '{"error":"db down"}'), /db down/, 1],
  ["a number", answerWith(200, '{"change_id":7}'), /not a text/, 1],
  ["a star", answerWith(200, '{"change_id":"*"}'), /not a change ID: \*/, 1],
  ["a redirect", answerWith(302, "", { location: "/elsewhere" }), /status 302/, 1],
  ["401", answerWith(401, "who are\nyou?"), /status 401: who are you\?/, 1],
  ["500", answerWith(500, "down"), /status 500: down/, attempts],
  ["a megabyte", answerWith(200, "x".repeat(1 << 20)), /maxContentLength/, attempts],
  ["a closed connection", hangUp, /hang up/, attempts],
  ["silence", neverAnswer, /no answer within 250 ms/, attempts],
  ["a byte now and then", dripForEver, /no answer within 250 ms/, attempts],
] as const) {
  test(`reading fails when the answer is ${name}`, async (t) => {
    const { oma, api } = await setUp(t);
    oma.fault = answer;
    const error = await rejection(api.readChangeId(vm.vmPath, 2000), "change-id-read");
    assert.match(error.message, message);
    assert.match(error.message, /^Reading the change ID of disk 2000 from http:\/\/127/);
    assert.equal(error.exitCode, 6);
    assert.match(error.remedy, /--full/);
    assert.equal(oma.requests.length, requests);
  });
}

test("an unreachable API fails the read, and no secret of its URL is told", async (t) => {
  const { oma } = await setUp(t);
  const baseUrl = `http://user:hunter2@127.0.0.1:${oma.port}/base/?key=hunter2`;
  await oma.stop();
  const { api } = await setUp(t, { baseUrl });
  const error = await rejection(api.readChangeId(vm.vmPath, 2000), "change-id-read");
  assert.match(error.message, /ECONNREFUSED/);
  const told = [error, error.cause].map((part) => `${part} ${JSON.stringify(part)}`).join();
  assert.doesNotMatch(told, /hunter2/);
});

test("a read outlasts an API that fails for a moment", async (t) => {
  const { oma, api } = await setUp(t);
  oma.stored.set(key, changeId(1));
  oma.faults.push(hangUp, answerWith(503, ""));
  assert.equal(await api.readChangeId(vm.vmPath, 2000), changeId(1));
});

test("a write is tried again for a bounded number of times", async (t) => {
  const { oma, api } = await setUp(t);
  oma.faults.push(hangUp, answerWith(503, ""));
  await api.storeChangeId(jobId, { deviceKey: 2000, changeId: changeId(1) });
  assert.equal(oma.stored.get(key), changeId(1));
  assert.equal(oma.requests.length, 3);
});

test("a write is not tried again where it would be refused again", async (t) => {
  const { oma, api } = await setUp(t);
  oma.fault = answerWith(404, "");
  const error = await rejection(
    api.storeChangeId(jobId, { deviceKey: 2000, changeId: changeId(1) }),
    "change-id-write",
  );
  assert.match(error.message, /does not know job/);
  assert.equal(oma.requests.length, 1);
});

test("an abort ends a request and the waiting at once, with the signal's reason", async (t) => {
  const { oma, api } = await setUp(t);
  oma.fault = neverAnswer;
  const controller = new AbortController();
  const reason = new Error("stopped by the operator");
  const reading = api.readChangeId(vm.vmPath, 2000, controller.signal);
  while (oma.requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
  controller.abort(reason);
  await assert.rejects(reading, reason);
  const writing = api.storeChangeId(
    jobId,
    { deviceKey: 2000, changeId: changeId(1) },
    { signal: controller.signal },
  );
  await assert.rejects(writing, reason);
});

test("proxy settings of the environment are not used", async (t) => {
  const { api } = await setUp(t);
  const before = process.env.http_proxy;
  process.env.http_proxy = "http://127.0.0.1:1";
  t.after(() => {
    if (before === undefined) delete process.env.http_proxy;
    else process.env.http_proxy = before;
  });
  assert.equal(await api.readChangeId(vm.vmPath, 2000), undefined);
});
