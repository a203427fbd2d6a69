/** Answers that no vCenter should give: each ends in a typed error, in time, with nothing polluted or leaked. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Server } from "node:net";
import { after, describe, test } from "node:test";
import { inspect } from "node:util";
import { pino } from "pino";
import { MigratekitError } from "../../../src/errors.ts";
import { VsphereClient } from "../../../src/vmware/vmware.ts";
import { makeCertificates } from "../certificates.ts";
import {
  envelope,
  fault,
  properties,
  type Reply,
  response,
  secret,
  startScripted,
} from "../scripted-endpoint.ts";

const made = makeCertificates();
after(() => made[Symbol.dispose]());

/** Rejects with this code, on one line, and nowhere in the error is the password. */
function typed(code: string, message?: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof MigratekitError, inspect(error));
    assert.equal(error.code, code, error.message);
    assert.doesNotMatch(error.message, /[\r\n]/);
    assert.doesNotMatch(inspect(error, { depth: 20, showHidden: true }), new RegExp(secret));
    if (message) assert.match(error.message, message);
    return true;
  };
}

const whole = envelope(response("RetrievePropertiesEx", properties("VirtualMachine", "vm-1", {})));
/** Of the cases that end by the client's own patience. */
const silence = /within 2 s/;
const nested = (depth: number) => "<a>".repeat(depth) + "</a>".repeat(depth);

describe("reading properties from an endpoint that sends", { concurrency: 6 }, () => {
  const cases: [string, Reply, string, RegExp?][] = [
    ["nothing with a 200", { status: 200, body: "" }, "vsphere-protocol", /with nothing/],
    [
      "an envelope without a body",
      { status: 200, body: '<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"/>' },
      "vsphere-protocol",
    ],
    ["an empty body", { status: 200, body: envelope("") }, "vsphere-protocol"],
    [
      "a page of HTML with a 200",
      { status: 200, body: "<!DOCTYPE html><html><body>Welcome</body></html>" },
      "vsphere-protocol",
      /web page/,
    ],
    [
      "a page of HTML with a 503",
      { status: 503, body: "<html>Service Unavailable</html>" },
      "vsphere-unreachable",
      /HTTP 503/,
    ],
    ["a 404", { status: 404, body: "not here" }, "vsphere-protocol", /HTTP 404/],
    ["a 500 without a fault", { status: 500, body: "Internal error" }, "vsphere-protocol"],
    [
      "XML that is cut off",
      { status: 200, body: whole.slice(0, -80) },
      "vsphere-protocol",
      /cut off/,
    ],
    [
      "XML with crossed tags",
      { status: 200, body: envelope("<a><b></a></b>") },
      "vsphere-protocol",
      /match/,
    ],
    ["two root elements", { status: 200, body: `${whole}<more/>` }, "vsphere-protocol"],
    [
      "the answer to another operation",
      { status: 200, body: envelope(response("Login", "")) },
      "vsphere-protocol",
      /LoginResponse/,
    ],
    ["elements ten thousand deep", nested(10_000), "vsphere-protocol", /deeper/],
    [
      "an entity bomb",
      { status: 200, body: `<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;">]>${whole}` },
      "vsphere-protocol",
      /document type/,
    ],
    ["an undeclared entity", "<returnval>&bomb;</returnval>", "vsphere-protocol"],
    [
      "references into the object prototype",
      '<returnval><objects id="__proto__"><polluted>yes</polluted></objects></returnval>',
      "vsphere-protocol",
    ],
    [
      "an element named like the object prototype",
      "<returnval><__proto__><polluted>yes</polluted></__proto__></returnval>",
      "vsphere-protocol",
    ],
    [
      "an answer that is not UTF-8",
      (http) => void http.end(Buffer.from(whole.replace("vm-1", "vm-\xff"), "latin1")),
      "vsphere-protocol",
      /UTF-8/,
    ],
    ["an answer without an end", (http) => flood(http), "vsphere-protocol", /more than \d+ bytes/],
    [
      "an answer about another object",
      properties("VirtualMachine", "vm-2", {}),
      "vsphere-protocol",
    ],
    ["text where a structure belongs", "<returnval>hello</returnval>", "vsphere-protocol"],
    [
      "a list page after page without end",
      "<returnval><token>more</token></returnval>",
      "vsphere-protocol",
      /without an end/,
    ],
    [
      "a power state of its own",
      properties("VirtualMachine", "vm-1", {
        "runtime.powerState": 'xsi:type="xsd:string">exploded',
      }),
      "vsphere-protocol",
      /exploded/,
    ],
    [
      "fewer bytes than announced",
      (http, socket) => {
        http.writeHead(200, { "Content-Length": whole.length + 100 });
        http.write(whole, () => socket.destroy());
      },
      "vsphere-unreachable",
      /lost/,
    ],
    [
      "no HTTP but noise",
      (_http, socket) => void socket.write("SSH-2.0-noise\r\n\r\n"),
      "vsphere-protocol",
      /HTTP/,
    ],
    ["nothing at all", () => {}, "vsphere-unreachable", silence],
    ["a drop now and then", (http) => drip(http), "vsphere-unreachable", silence],
    [
      "the end of the connection",
      (_http, socket) => void socket.destroy(),
      "vsphere-unreachable",
      /lost/,
    ],
    [
      "a fault with line breaks and control characters",
      { fault: "SystemError", text: "one\r\ntwo\t&#9;three" },
      "vsphere-fault",
      /one two three/,
    ],
    [
      "a fault without detail",
      {
        status: 500,
        body: envelope(fault({ fault: "X" }).replace(/<detail>[\s\S]*<\/detail>/, "")),
      },
      "vsphere-fault",
    ],
    [
      "a fault of the free licence",
      { fault: "RestrictedVersion", text: "Current license prohibits it" },
      "vsphere-fault",
      /RestrictedVersion/,
    ],
    [
      "a fault for a missing privilege",
      {
        fault: "NoPermission",
        text: "denied",
        detail: '<object type="VirtualMachine">vm-1</object><privilegeId>System.Read</privilegeId>',
      },
      "vsphere-permission",
      /System\.Read/,
    ],
  ];
  for (const [title, reply, code, message] of cases)
    test(title, async () => {
      await using endpoint = await startScripted(made.selfSigned, ({ operation }) =>
        operation === "RetrievePropertiesEx" || operation === "ContinueRetrievePropertiesEx"
          ? reply
          : undefined,
      );
      const requestTimeoutMs = message === silence ? 2_000 : 60_000;
      await using client = await endpoint.connect({ requestTimeoutMs });
      await assert.rejects(client.readPowerState("vm-1"), typed(code, message));
      assert.equal(Reflect.get({}, "polluted"), undefined);
      assert.equal(Reflect.get({}, "obj"), undefined);
    });
});

function flood(http: import("node:http").ServerResponse): void {
  http.writeHead(200);
  const block = Buffer.alloc(1_048_576, " ");
  const more = () => void (http.destroyed || http.write(block, more));
  more();
}

function drip(http: import("node:http").ServerResponse): void {
  http.writeHead(200);
  const timer = setInterval(() => http.write(" "), 50);
  http.on("close", () => clearInterval(timer));
}

test("a redirect is not followed, and nothing is sent where it points", async () => {
  let visits = 0;
  const elsewhere = createHttpServer((_request, answer) => {
    visits += 1;
    answer.end();
  });
  await once(elsewhere.listen(0, "127.0.0.1"), "listening");
  const { port } = elsewhere.address() as AddressInfo;
  await using endpoint = await startScripted(made.selfSigned, ({ operation }) =>
    operation === "Login"
      ? { status: 307, body: "", headers: { Location: `http://127.0.0.1:${port}/sdk` } }
      : undefined,
  );
  await assert.rejects(endpoint.connect(), typed("vsphere-protocol", /redirects/));
  elsewhere.close();
  assert.equal(visits, 0);
});

test("an endpoint that echoes the login keeps the password out of the error", async () => {
  await using endpoint = await startScripted(made.selfSigned, ({ operation }) =>
    operation === "Login" ? { fault: "SystemError", text: `bad request: ${secret}` } : undefined,
  );
  await assert.rejects(endpoint.connect(), typed("vsphere-fault", /\*\*\*/));
});

test("a refused login is told apart from a refused connection, a silent and an unknown host", async () => {
  await using endpoint = await startScripted(made.selfSigned, ({ operation }) =>
    operation === "Login" ? { fault: "InvalidLogin", text: "Cannot complete login" } : undefined,
  );
  await assert.rejects(endpoint.connect(), typed("vsphere-login", /refused the login of operator/));

  const closed = await listen(createTcpServer());
  closed.server.close();
  await assert.rejects(
    endpoint.connect({ port: closed.port }),
    typed("vsphere-unreachable", /refused/),
  );

  const silent = await listen(createTcpServer(() => {}));
  const timedOut = endpoint.connect({ port: silent.port, requestTimeoutMs: 300 });
  await assert.rejects(timedOut, typed("vsphere-unreachable", /0\.3 s/));
  silent.server.close();

  const unknown = endpoint.connect({ host: "no-such-host.invalid" });
  await assert.rejects(unknown, typed("vsphere-unreachable", /host name/));
});

test("a server that does not speak TLS is a protocol error", async () => {
  const plain = createHttpServer((_request, answer) => answer.end("hello"));
  await once(plain.listen(0, "127.0.0.1"), "listening");
  const { port } = plain.address() as AddressInfo;
  await using endpoint = await startScripted(made.selfSigned);
  await assert.rejects(endpoint.connect({ port }), typed("vsphere-protocol", /TLS/));
  plain.close();
});

test("neither the client nor its log holds the password at any level", async () => {
  const lines: string[] = [];
  const logger = pino({ level: "trace" }, { write: (line: string) => void lines.push(line) });
  await using endpoint = await startScripted(made.selfSigned);
  const client = await endpoint.connect({ logger });
  await assert.rejects(client.readVm("vm-1"));
  logger.info({ client }, "whole client");
  assert.doesNotMatch(inspect(client, { depth: 20, showHidden: true }), new RegExp(secret));
  await client.close();
  assert.doesNotMatch(lines.join(""), new RegExp(secret));
  assert.ok(
    endpoint.calls.some((call) => call.envelope.includes(secret)),
    "the marker was sent",
  );
});

test("an abort while connecting ends with the signal's own reason", async () => {
  const silent = await listen(createTcpServer(() => {}));
  const controller = new AbortController();
  const reason = new Error("stop");
  const connecting = VsphereClient.connect({
    host: "127.0.0.1",
    port: silent.port,
    username: "u",
    password: secret,
    trust: {},
    logger: pino({ level: "silent" }),
    signal: controller.signal,
  });
  await once(silent.server, "connection");
  controller.abort(reason);
  await assert.rejects(connecting, (error) => error === reason);
  silent.server.close();
});

/** Connections are dropped by the process's end; an unref'd server does not keep it. */
async function listen(server: Server): Promise<{ server: Server; port: number }> {
  server.on("connection", (socket) => socket.unref().on("error", () => {}));
  await once(server.listen(0, "127.0.0.1").unref(), "listening");
  return { server, port: (server.address() as AddressInfo).port };
}
