/** A small JSON server on loopback whose answers can be spoilt on demand: the ground of the stand-in APIs. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface ApiRequest {
  readonly method: string;
  /** Path segments, percent-decoded. */
  readonly path: readonly string[];
  readonly query: URLSearchParams;
  readonly text: string;
  /** When the first byte of the request's head arrived, on the `performance.now()` clock. */
  readonly arrivedAtMs: number;
}

export interface ApiReply {
  readonly status: number;
  readonly body: unknown;
}

/** What goes wrong, for which requests and how often. */
export type ApiFault = {
  /** Absent: every method. */
  readonly method?: "GET" | "POST";
  /** How many requests it strikes; absent: all until another fault is set. */
  readonly times?: number;
  /** `stored`: the request takes effect although its answer is spoilt. [false] */
  readonly stored?: boolean;
} & (
  | { readonly kind: "hang" | "reset" | "garbage" }
  | { readonly kind: "status"; readonly status: number }
  /** Answers late; it takes effect late as well. */
  | { readonly kind: "slow"; readonly delayMs: number }
  | { readonly kind: "redirect"; readonly location: string }
  | { readonly kind: "huge"; readonly bytes: number }
);

export interface ApiServer extends AsyncDisposable {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  readonly port: number;
  /** How many bytes of answers were taken by clients; tells whether a huge one was read. */
  readonly sentBytes: () => number;
  setFault(fault: ApiFault | undefined): void;
  /** Closes the port, so that connections are refused; `accept` opens the same one again. */
  refuse(): Promise<void>;
  accept(): Promise<void>;
  stop(): Promise<void>;
}

const requestBytesMax = 1 << 20;

export async function startApiServer(
  handle: (request: ApiRequest) => ApiReply,
  options: { port?: number } = {},
): Promise<ApiServer> {
  let fault: ApiFault | undefined;
  let strikesLeft = Number.POSITIVE_INFINITY;
  let sentBytes = 0;
  const timers = new Set<NodeJS.Timeout>();

  const takeFault = (method: string): ApiFault | undefined => {
    if (fault === undefined || (fault.method ?? method) !== method || strikesLeft <= 0) {
      return undefined;
    }
    strikesLeft--;
    return fault;
  };

  const answer = async (message: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { socket } = message;
    const writtenBefore = socket.bytesWritten;
    response.on("close", () => {
      sentBytes += socket.bytesWritten - writtenBefore;
    });
    const request = await readRequest(message, performance.now());
    const struck = takeFault(request.method);
    if (struck === undefined) {
      sendJson(response, handle(request));
    } else if (struck.kind === "slow") {
      const timer = setTimeout(() => {
        timers.delete(timer);
        sendJson(response, handle(request));
      }, struck.delayMs);
      timers.add(timer);
    } else {
      if (struck.stored === true) handle(request);
      spoil(struck, response);
    }
  };

  const server = createServer((message, response) => {
    answer(message, response).catch(() => response.destroy());
  });
  await listen(server, options.port ?? 0);
  const { port } = server.address() as AddressInfo;

  const close = async (): Promise<void> => {
    for (const timer of timers) clearTimeout(timer);
    timers.clear();
    if (!server.listening) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
  };

  return {
    url: `http://127.0.0.1:${port}`,
    port,
    sentBytes: () => sentBytes,
    setFault(next) {
      fault = next;
      strikesLeft = next?.times ?? Number.POSITIVE_INFINITY;
    },
    refuse: close,
    accept: () => listen(server, port),
    stop: close,
    [Symbol.asyncDispose]: close,
  };
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => {
      server.off("error", reject);
      resolve();
    });
  });
}

async function readRequest(message: IncomingMessage, arrivedAtMs: number): Promise<ApiRequest> {
  let text = "";
  for await (const chunk of message.setEncoding("utf8")) {
    text += chunk;
    if (text.length > requestBytesMax) throw new Error("the request is too long");
  }
  // By hand: the URL class would resolve `..` segments that a real router never sees resolved.
  const [rawPath = "", rawQuery = ""] = (message.url ?? "").split("?");
  return {
    method: message.method ?? "",
    path: rawPath.split("/").slice(1).map(decodeURIComponent),
    query: new URLSearchParams(rawQuery),
    text,
    arrivedAtMs,
  };
}

function sendJson(response: ServerResponse, reply: ApiReply): void {
  response.writeHead(reply.status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(reply.body));
}

function spoil(fault: Exclude<ApiFault, { kind: "slow" }>, response: ServerResponse): void {
  switch (fault.kind) {
    case "hang":
      return;
    case "reset":
      response.socket?.resetAndDestroy();
      return;
    case "status":
      sendJson(response, { status: fault.status, body: { error: "made to fail" } });
      return;
    case "redirect":
      response.writeHead(307, { Location: fault.location }).end();
      return;
    case "garbage":
      response.writeHead(200, { "Content-Type": "application/json" }).end("<html>\u0000{]");
      return;
    case "huge":
      sendHuge(response, fault.bytes);
  }
}

/** One endless JSON string, as fast as the client takes it. */
function sendHuge(response: ServerResponse, bytes: number): void {
  const block = Buffer.alloc(64 * 1024, "x");
  response.writeHead(200, { "Content-Type": "application/json" });
  response.write('{"status":"');
  let left = bytes;
  const more = (): void => {
    while (left > 0 && !response.destroyed) {
      left -= block.length;
      if (!response.write(block)) {
        response.once("drain", more);
        return;
      }
    }
    response.end('"}');
  };
  more();
}
