/** A raw TLS server that plays a vCenter badly: each operation is answered as a test says. */

import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { Duplex } from "node:stream";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import { pino } from "pino";
import { VsphereClient, type VsphereConnectOptions } from "../../src/vmware/vmware.ts";
import type { Leaf } from "./certificates.ts";

export interface Call {
  readonly operation: string;
  readonly envelope: string;
  readonly cookie: string | undefined;
}

/**
 * What an operation is answered with: the inner XML of its response element, a fault, a whole HTTP answer,
 * or a function that does what it likes with the connection.
 */
export type Reply =
  | string
  | { readonly fault: string; readonly text?: string; readonly detail?: string }
  | { readonly status: number; readonly body: string; readonly headers?: Record<string, string> }
  | ((response: ServerResponse, socket: Duplex) => void);

/** `undefined` leaves the operation to the defaults, which are those of a polite server. */
export type Script = (call: Call) => Reply | undefined;

export interface ScriptedEndpoint extends AsyncDisposable {
  readonly port: number;
  readonly leaf: Leaf;
  /** In the order of arrival. */
  readonly calls: Call[];
  /** Bytes that arrived inside TLS, over all connections. */
  readonly applicationBytes: () => number;
  /** TCP connections, whether or not TLS came about on them. */
  readonly connections: () => number;
  /** Resolves when the server has seen the end of every connection, and so everything sent on it. */
  allClosed(): Promise<void>;
  /** Presents another certificate from now on and cuts the open connections. */
  present(leaf: Leaf): void;
  cutConnections(): void;
  connect(changes?: Partial<VsphereConnectOptions>): Promise<VsphereClient>;
}

export const secret = "S3cret-marker-pa55";

export async function startScripted(
  leaf: Leaf,
  script: Script = () => undefined,
): Promise<ScriptedEndpoint> {
  const calls: Call[] = [];
  const sockets = new Set<TLSSocket>();
  let applicationBytes = 0;
  let connections = 0;
  const http = createServer((request, response) => void serve(request, response));
  const server = createTlsServer({ key: leaf.key, cert: leaf.cert, noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    // HTTP gets a stream of its own: reading the socket itself, it would pass the counter by.
    const counted = new Duplex({
      read: () => {},
      write: (chunk, _encoding, done) => void socket.write(chunk, done),
      final: (done) => void socket.end(done),
      destroy: (error, done) => {
        socket.destroy();
        done(error);
      },
    });
    socket.on("data", (chunk: Buffer) => {
      applicationBytes += chunk.length;
      counted.push(chunk);
    });
    socket.on("close", () => counted.destroy());
    http.emit("connection", counted);
  });
  server.on("tlsClientError", () => {});
  const open = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    connections += 1;
    open.add(socket);
    socket.on("close", () => open.delete(socket));
  });

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const envelope = Buffer.concat(parts).toString("utf8");
    const operation = /:Body><(?:\w+:)?(\w+)/.exec(envelope)?.[1] ?? "";
    const call = { operation, envelope, cookie: request.headers.cookie };
    calls.push(call);
    const reply = script(call) ?? polite(operation);
    if (typeof reply === "function") return reply(response, request.socket as Duplex);
    const { status, body, headers } = httpAnswer(operation, reply);
    response.writeHead(status, { "Content-Type": "text/xml; charset=utf-8", ...headers }).end(body);
  }

  const cutConnections = () => {
    for (const socket of sockets) socket.destroy();
  };
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  return {
    port,
    leaf,
    calls,
    applicationBytes: () => applicationBytes,
    connections: () => connections,
    async allClosed() {
      for (const socket of open) if (!socket.closed) await once(socket, "close");
    },
    present(other) {
      server.setSecureContext({ key: other.key, cert: other.cert });
      cutConnections();
    },
    cutConnections,
    connect: (changes = {}) =>
      VsphereClient.connect({
        host: "127.0.0.1",
        port,
        username: "operator",
        password: secret,
        trust: { thumbprint: leaf.sha256 },
        logger: pino({ level: "silent" }),
        keepAliveMs: 0,
        requestTimeoutMs: 3_000,
        outageMs: 0,
        busyMs: 0,
        ...changes,
      }),
    async [Symbol.asyncDispose]() {
      cutConnections();
      http.close();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function httpAnswer(operation: string, reply: Exclude<Reply, (...args: never[]) => void>) {
  if (typeof reply === "string")
    return { status: 200, body: envelope(response(operation, reply)), headers: {} };
  if ("status" in reply) return { headers: {}, ...reply };
  return { status: 500, body: envelope(fault(reply)), headers: {} };
}

export function response(operation: string, inner: string): string {
  return `<${operation}Response xmlns="urn:vim25">${inner}</${operation}Response>`;
}

export function fault({
  fault,
  text = "",
  detail = "",
}: {
  fault: string;
  text?: string;
  detail?: string;
}): string {
  return `<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>${text}</faultstring><detail>
<${fault}Fault xmlns="urn:vim25" xsi:type="${fault}">${detail}</${fault}Fault></detail></soapenv:Fault>`;
}

export function envelope(body: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"
 xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<soapenv:Body>${body}</soapenv:Body></soapenv:Envelope>`;
}

/** Inner XML of a RetrievePropertiesEx answer about one object. */
export function properties(
  type: string,
  moref: string,
  values: Readonly<Record<string, string>>,
): string {
  const sets = Object.entries(values).map(
    ([name, value]) => `<propSet><name>${name}</name><val ${value}</val></propSet>`,
  );
  return `<returnval><objects><obj type="${type}">${moref}</obj>${sets.join("")}</objects></returnval>`;
}

function polite(operation: string): Reply {
  const answers: Readonly<Record<string, string>> = {
    RetrieveServiceContent: `<returnval><rootFolder type="Folder">group-d1</rootFolder>
<propertyCollector type="PropertyCollector">propertyCollector</propertyCollector>
<viewManager type="ViewManager">ViewManager</viewManager>
<about><name>VMware vCenter Server</name><fullName>Scripted 8.0</fullName><vendor>test</vendor>
<version>8.0.2</version><build>1</build><osType>linux-x64</osType><productLineId>vpx</productLineId>
<apiType>VirtualCenter</apiType><apiVersion>8.0.2.0</apiVersion><instanceUuid>u</instanceUuid></about>
<sessionManager type="SessionManager">SessionManager</sessionManager>
<searchIndex type="SearchIndex">SearchIndex</searchIndex></returnval>`,
    Login: `<returnval><key>52session</key><userName>operator</userName></returnval>`,
    Logout: "",
    CurrentTime: "<returnval>2026-11-23T12:00:00Z</returnval>",
  };
  return answers[operation] ?? { fault: "MethodNotFound", text: `no ${operation} here` };
}
