// --webhook: real servers that are well, slow, hang, refuse, lead elsewhere and are gone, and what they may change.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import {
  createServer,
  type IncomingHttpHeaders,
  type RequestListener,
  type Server,
} from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { resolveConfig } from "../../../src/config.ts";
import { MigratekitError } from "../../../src/errors.ts";
import { createLogger } from "../../../src/logger.ts";
import type { OptionName } from "../../../src/options.ts";
import { withHooks } from "../../../src/report/hooks/hooks.ts";
import { makeNbdCertificates } from "../../lab/tls.ts";
import { tempDir } from "../../temp-dir.ts";

interface Delivery {
  readonly headers: IncomingHttpHeaders;
  readonly path: string;
  readonly body: Buffer;
  readonly document: Record<string, unknown>;
}

type Answer = (at: number, response: Parameters<RequestListener>[1]) => void;

const well: Answer = (_, response) => response.writeHead(204).end();
const status =
  (code: number): Answer =>
  (_, response) =>
    response.writeHead(code, { location: "/elsewhere" }).end();

/** A server that keeps what it is sent; `answer` gets the number of the delivery, from 0. */
async function receiver(t: TestContext, answer: Answer, make = createServer as Make) {
  const taken: Delivery[] = [];
  const server = make((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const body = Buffer.concat(parts);
      const document = JSON.parse(body.toString()) as Record<string, unknown>;
      taken.push({ headers: request.headers, path: request.url ?? "", body, document });
      answer(taken.length - 1, response);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { taken, port: (server.address() as AddressInfo).port };
}
type Make = (listener: RequestListener) => Server;

/** A run that does `work` under these settings, and what its log says. */
async function run(
  flags: Partial<Record<OptionName, string | boolean>>,
  work: () => Promise<unknown> = async () => ({ sync_type: "full" }),
  signal?: AbortSignal,
) {
  await using dir = await tempDir();
  const given = { "vmware-path": "/DC/vm/web01", "vmware-endpoint": "vc", ...flags };
  const config = resolveConfig(
    "migrate",
    new Map(Object.entries({ ...given, "state-dir": dir.path })) as Map<OptionName, string>,
    {},
  );
  let log = "";
  const destination = { write: (line: string) => (log += line) };
  const logger = createLogger({ level: "debug", pretty: false, destination });
  let begun = false;
  const outcome = await withHooks({ config, logger, signal }, async (before) => {
    await before();
    begun = true;
    return await work();
  }).then(
    (result) => ({ result, error: undefined }),
    (error: unknown) => ({ result: undefined, error }),
  );
  return { ...outcome, begun, log };
}

const url = (port: number, path = "/in/token-97531") => `http://127.0.0.1:${port}${path}`;

test("the ending is posted once, to the very path, with the facts that a hook gets", async (t) => {
  const { taken, port } = await receiver(t, well);
  const { result, log } = await run({ webhook: url(port, "/in/"), "job-id": "job-1" });
  assert.deepEqual(result, { sync_type: "full" });
  assert.equal(taken.length, 1);
  const [{ document, headers, path }] = taken as [Delivery];
  assert.equal(path, "/in/");
  assert.equal(headers["content-type"], "application/json");
  assert.equal(headers["x-migratekit-signature"], undefined);
  assert.equal(headers["x-migratekit-delivery"], document.delivery_id);
  const { event, command, vm_path, endpoint, job_id, status: ended, exit_code, summary } = document;
  assert.deepEqual(
    { event, command, vm_path, endpoint, job_id, status: ended, exit_code, summary },
    {
      ...{ event: "after", command: "migrate", vm_path: "/DC/vm/web01", endpoint: "vc:443" },
      ...{ job_id: "job-1", status: "completed", exit_code: 0, summary: { sync_type: "full" } },
    },
  );
  assert.doesNotMatch(log, /"level":(40|50)/);
});

test("a run that failed is posted as that, and stays the failure that it was", async (t) => {
  const { taken, port } = await receiver(t, well);
  const failure = new MigratekitError("target-unreachable", "nobody there");
  const { error } = await run({ webhook: url(port) }, () => Promise.reject(failure));
  assert.equal(error, failure);
  const { status: ended, error: told } = taken[0]!.document as {
    status: string;
    error: { code: string };
  };
  assert.deepEqual([ended, told.code], ["failed", "target-unreachable"]);
});

test("with a shared secret the body's bytes are signed, and the secret is nowhere", async (t) => {
  await using dir = await tempDir();
  const file = join(dir.path, "secret");
  writeFileSync(file, "shared-geheim-42\n", { mode: 0o600 });
  const { taken, port } = await receiver(t, well);
  const told = async () => ({ note: "shared-geheim-42" });
  const { log } = await run({ webhook: url(port), "webhook-secret-file": file }, told);
  const [{ headers, body }] = taken as [Delivery];
  const digest = createHmac("sha256", "shared-geheim-42").update(body).digest("hex");
  assert.equal(headers["x-migratekit-signature"], `sha256=${digest}`);
  assert.ok(!body.includes("shared-geheim-42"), body.toString());
  assert.ok(!log.includes("geheim"), log);
  chmodSync(file, 0o644);
  assert.match(
    (await run({ webhook: url(port), "webhook-secret-file": file })).log,
    /others can read the webhook's secret file/,
  );
  const missing = await run({ webhook: url(port), "webhook-secret-file": join(dir.path, "none") });
  assert.match(String(missing.error), /--webhook-secret-file .*there is no such file/);
  assert.equal(missing.begun, false);
});

test("trouble that passes is tried again under the same ID until it is taken", async (t) => {
  const { taken, port } = await receiver(t, (at, response) => {
    if (at === 0) response.destroy();
    else if (at === 1) response.writeHead(503).end();
    else response.writeHead(200).end();
  });
  const { error, log } = await run({ webhook: url(port), "webhook-timeout": "1m" });
  assert.equal(error, undefined);
  assert.equal(taken.length, 3);
  assert.equal(new Set(taken.map(({ document }) => document.delivery_id)).size, 1);
  assert.doesNotMatch(log, /"level":40/);
});

test("a server that answers late but in time is asked once", async (t) => {
  const { taken, port } = await receiver(t, (_, response) => {
    setTimeout(() => response.writeHead(200).end(), 1500);
  });
  const { log } = await run({ webhook: url(port), "webhook-timeout": "1m" });
  assert.equal(taken.length, 1);
  assert.doesNotMatch(log, /"level":40/);
});

const spoilt: Record<string, { answer: Answer; time: string; says: RegExp; times?: number }> = {
  "hangs is left after the time that it has": {
    answer: () => {},
    time: "2s",
    says: /did not take the run: no answer within 0:02 \(--webhook-timeout\)/,
    times: 1,
  },
  "fails each time is left after the time that it has": {
    answer: status(500),
    time: "2s",
    says: /did not take the run within 0:02 \(--webhook-timeout\): it answered with status 500/,
  },
  "fails each time is left after five tries": {
    answer: status(500),
    time: "1h",
    says: /did not take the run: it answered with status 500/,
    times: 5,
  },
  "refuses is not asked again": {
    answer: status(403),
    time: "1h",
    says: /did not take the run: it answered with status 403/,
    times: 1,
  },
  "leads elsewhere is not followed": {
    answer: status(307),
    time: "1h",
    says: /status 307: a redirect is not followed/,
    times: 1,
  },
};

for (const [what, { answer, time, says, times }] of Object.entries(spoilt)) {
  test(`a server that ${what}: a warning, and the ending stays`, async (t) => {
    const { taken, port } = await receiver(t, answer);
    const flags = { webhook: url(port), "webhook-timeout": time };
    const { result, log } = await run(flags);
    assert.deepEqual(result, { sync_type: "full" });
    const warnings = log.split("\n").filter((line) => line.includes('"level":40'));
    assert.equal(warnings.length, 1, log);
    assert.match(warnings[0]!, says);
    assert.ok(!log.includes("token-97531"), "the path may be a password");
    assert.ok(!taken.some(({ path }) => path === "/elsewhere"));
    if (times !== undefined) assert.equal(taken.length, times);
  });

  test(`a server that ${what}: where it is required, nothing is begun`, async (t) => {
    const { taken, port } = await receiver(t, answer);
    const flags = { webhook: url(port), "webhook-timeout": time, "webhook-required": true };
    const { error, begun } = await run(flags);
    assert.equal(begun, false);
    assert.ok(error instanceof MigratekitError);
    assert.equal(error.code, "webhook-failed");
    assert.match(error.message, says);
    assert.match(error.message, /; nothing was begun$/);
    assert.equal(taken[0]!.document.event, "before");
  });
}

test("a server that is gone is a warning; where it is required, nothing is begun", async (t) => {
  const { port } = await receiver(t, well);
  const gone = createServer().listen(0, "127.0.0.1");
  await once(gone, "listening");
  const { port: nobody } = gone.address() as AddressInfo;
  await new Promise((resolve) => gone.close(resolve));
  const flags = { webhook: url(nobody), "webhook-timeout": "1s" };
  const { result, log } = await run(flags);
  assert.ok(result);
  assert.match(log, /"level":40.*ECONNREFUSED/);
  const { error } = await run({ ...flags, "webhook-required": true });
  assert.match(String(error), /ECONNREFUSED.*nothing was begun/);
  // Once it is there, the run is told of before and after.
  const there = await run({ webhook: url(port), "webhook-required": true });
  assert.ok(there.begun);
});

test("what is required before the run is not asked of its ending", async (t) => {
  const { taken, port } = await receiver(t, (at, response) => {
    response.writeHead(at === 0 ? 200 : 410).end();
  });
  const { result, log } = await run({ webhook: url(port), "webhook-required": true });
  assert.deepEqual(result, { sync_type: "full" });
  assert.deepEqual(
    taken.map(({ document }) => document.event),
    ["before", "after"],
  );
  assert.notEqual(taken[0]!.document.delivery_id, taken[1]!.document.delivery_id);
  assert.match(log, /"level":40.*status 410/);
});

test("a signal ends the wait for a server that is required", async (t) => {
  const stop = new AbortController();
  const { port } = await receiver(t, (at, response) => {
    if (at === 0) stop.abort(new Error("told to stop"));
    else response.writeHead(200).end();
  });
  const flags = { webhook: url(port), "webhook-timeout": "1h", "webhook-required": true };
  const { error, begun } = await run(flags, undefined, stop.signal);
  assert.match(String(error), /told to stop/);
  assert.equal(begun, false);
});

test("a certificate that nobody here trusts ends it at once, before a byte is told", async (t) => {
  await using dir = await tempDir();
  const { serverDir } = await makeNbdCertificates(dir.path);
  const [key, cert] = ["key", "cert"].map((name) =>
    readFileSync(join(serverDir, `server-${name}.pem`)),
  );
  const make = ((listener) => createTlsServer({ key, cert }, listener)) as Make;
  const { taken, port } = await receiver(t, well, make);
  const { log } = await run({ webhook: `https://127.0.0.1:${port}/`, "webhook-timeout": "1h" });
  assert.match(log, /"level":40.*certificate/);
  assert.equal(taken.length, 0);
});

test("what is no address of a server is refused, and not repeated", async () => {
  for (const webhook of ["ftp://x/geheim", "geheim", "http://anna:geheim@example.com/"]) {
    await assert.rejects(run({ webhook }), (error: Error) => {
      assert.match(error.message, /^--webhook /);
      assert.doesNotMatch(error.message, /geheim/);
      return true;
    });
  }
});
