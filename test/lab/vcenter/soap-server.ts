/** The HTTPS face of the simulator: sessions by cookie, faults of the transport, one call per request. */

import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { LabCertificate } from "./certificate.ts";
import { type Answer, carryOut } from "./dispatch.ts";
import { faultNumber } from "./fault-board.ts";
import type { LabCore } from "./lab-core.ts";
import { readCall, type SoapCall, writeFault } from "./soap-envelope.ts";
import { VimFault } from "./vim-fault.ts";

const bodyBytesMax = 4_194_304;
const html503 = "<html><head><title>503 Service Unavailable</title><br></head></html>";

export class SoapServer {
  readonly #lab: LabCore;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #stopping = new AbortController();
  #port = 0;
  #host = "127.0.0.1";
  #relisten: NodeJS.Timeout | undefined;
  /** Connections accepted so far. */
  connections = 0;

  constructor(lab: LabCore, certificate: LabCertificate) {
    this.#lab = lab;
    this.#server = createServer(
      { cert: certificate.certificatePem, key: certificate.keyPem, keepAliveTimeout: 60_000 },
      (request, response) => void this.#serve(request, response),
    );
    this.#server.on("connection", (socket: Socket) => {
      this.connections += 1;
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
    this.#server.on("tlsClientError", () => {});
    lab.faults.onAdd((fault) => {
      if (fault.name !== "refuseConnections") return;
      lab.faults.take("refuseConnections");
      void this.refuseConnections(faultNumber(fault, 1000));
    });
  }

  get port(): number {
    return this.#port;
  }

  async listen(host: string, port: number): Promise<void> {
    this.#host = host;
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, host, () => {
        this.#server.off("error", reject);
        resolve();
      });
    });
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** As during a restart of vCenter: nobody listens, and what was open is cut. */
  async refuseConnections(milliseconds: number): Promise<void> {
    clearTimeout(this.#relisten);
    await this.#close();
    this.#lab.sessions.expireAll();
    if (this.#stopping.signal.aborted) return;
    this.#relisten = setTimeout(() => void this.listen(this.#host, this.#port), milliseconds);
  }

  async stop(): Promise<void> {
    clearTimeout(this.#relisten);
    this.#stopping.abort();
    await this.#close();
  }

  #close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    return closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const path = (request.url ?? "/").replace(/\?.*$/, "").replace(/\/$/, "");
      if (request.method === "GET" && path === "/sdk/vimServiceVersions.xml") {
        send(response, 200, "text/xml; charset=utf-8", serviceVersions);
      } else if (request.method !== "POST" || !/^\/sdk(\/vimService)?$/.test(path)) {
        send(response, 404, "text/html", "<html><body>Not found</body></html>");
      } else {
        await this.#answerCall(request, response, await readBody(request));
      }
    } catch (error) {
      if (!response.headersSent) send(response, 400, "text/plain", String(error));
      else response.destroy();
    }
  }

  async #answerCall(
    request: IncomingMessage,
    response: ServerResponse,
    body: string,
  ): Promise<void> {
    const { faults, sessions, log } = this.#lab;
    let soapCall: SoapCall;
    try {
      checkAction(request);
      soapCall = readCall(body);
    } catch (error) {
      if (!(error instanceof VimFault)) throw error;
      send(response, 500, "text/xml; charset=utf-8", writeFault(error));
      return;
    }
    const place = { method: soapCall.method.name };
    if (faults.take("expireSessions", place)) sessions.expireAll();
    this.#countDown();
    const session = sessions.find(cookieOf(request));
    const logged = log.begin(
      soapCall.method.name,
      soapCall.self,
      session?.user.username,
      soapCall.parameters,
    );
    const startedMs = performance.now();
    const delayMs = faultNumber(faults.take("delayMs", place), 0);
    if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
    if (faults.take("http503Html", place)) {
      logged.outcome = "http503Html";
      send(response, 503, "text/html", html503);
      return;
    }
    const closed = new AbortController();
    response.on("close", () => closed.abort());
    const signal = AbortSignal.any([closed.signal, this.#stopping.signal]);
    const answer = await carryOut(this.#lab, soapCall, session, signal);
    logged.outcome = answer.outcome;
    logged.durationMs = Math.round(performance.now() - startedMs);
    if (answer.session !== session) setCookie(response, answer);
    const spoiled = (["emptyAnswer", "truncatedAnswer", "cutConnection"] as const).find((name) =>
      faults.take(name, place),
    );
    if (spoiled) logged.outcome = spoiled;
    deliver(response, answer, spoiled);
  }

  /** `notAuthenticatedAfter`: the sessions go when its count of calls has run out. */
  #countDown(): void {
    const { faults, sessions } = this.#lab;
    const fault = faults.peek("notAuthenticatedAfter");
    if (!fault) return;
    const left = faultNumber(fault, 0);
    if (left > 0) fault.value = left - 1;
    else {
      faults.clear("notAuthenticatedAfter");
      sessions.expireAll();
    }
  }
}

function deliver(response: ServerResponse, answer: Answer, spoiled: string | undefined): void {
  const type = "text/xml; charset=utf-8";
  const half = answer.body.slice(0, Math.floor(answer.body.length / 2));
  if (spoiled === "emptyAnswer") send(response, 200, type, "");
  else if (spoiled === "truncatedAnswer") send(response, answer.status, type, half);
  else if (spoiled === "cutConnection") {
    response.writeHead(answer.status, {
      "Content-Type": type,
      "Content-Length": Buffer.byteLength(answer.body),
    });
    response.write(half, () => response.destroy());
  } else send(response, answer.status, type, answer.body);
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, {
    "Content-Type": type,
    "Content-Length": Buffer.byteLength(body),
    "Cache-Control": "no-cache",
  });
  response.end(body);
}

function setCookie(response: ServerResponse, answer: Answer): void {
  const token = answer.session?.token;
  response.setHeader(
    "Set-Cookie",
    token === undefined
      ? 'vmware_soap_session=""; Path=/; HttpOnly; Secure; Max-Age=0'
      : `vmware_soap_session="${token}"; Path=/; HttpOnly; Secure; `,
  );
}

function cookieOf(request: IncomingMessage): string | undefined {
  const match = /(?:^|;\s*)vmware_soap_session="?([0-9a-f]+)"?/.exec(request.headers.cookie ?? "");
  return match?.[1];
}

/** vCenter chooses the API version by this header; without one most methods do not exist. */
function checkAction(request: IncomingMessage): void {
  const action = String(request.headers.soapaction ?? "").replaceAll('"', "");
  if (!/^urn:vim25\/\d+(\.\d+)*$/.test(action)) {
    throw new VimFault("InvalidRequest", `Unsupported version URI "${action}"`);
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > bodyBytesMax) throw new RangeError("The request is too large");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

const serviceVersions =
  '<?xml version="1.0" encoding="UTF-8"?>\n<namespaces version="1.0"><namespace>' +
  "<name>urn:vim25</name><version>7.0.3.0</version>" +
  "<priorVersions><version>7.0</version><version>6.7</version><version>6.5</version>" +
  "</priorVersions></namespace></namespaces>";
