/** `--metrics-listen`: a small server that Prometheus asks; it gives metrics and says that it is there, and no more. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { MigratekitError, messageOf } from "../../errors.ts";
import { redact } from "../../logger.ts";
import { hostAndPort } from "../../text.ts";

export interface MetricsServer extends AsyncDisposable {
  /** Where it is: the port is told where 0 was asked for. */
  readonly address: { readonly host: string; readonly port: number };
}

const textType = "text/plain; charset=utf-8";
const metricsType = "text/plain; version=0.0.4; charset=utf-8";
/** Scrapers at a time; more than any monitoring has. */
const connectionsMax = 32;
/** A request's head, and a connection on which nothing comes. */
const patienceMs = 5000;

/**
 * Answers `/metrics` with what `render` gives and `/healthz` with "ok". Requests at the same time share one
 * rendering; one that fails is a 503 that says why, and `failed` is told. Ends at once when it is disposed of.
 * @throws MigratekitError `usage` where it cannot listen
 */
export async function serveMetrics(
  listen: { readonly host: string; readonly port: number },
  render: () => string | Promise<string>,
  failed: (error: unknown) => void = () => {},
): Promise<MetricsServer> {
  const shared = sharedWork(render);
  const server = createServer(
    { headersTimeout: patienceMs, requestTimeout: patienceMs, keepAliveTimeout: patienceMs },
    (request, response) => {
      // Nothing that is sent is of interest.
      request.resume();
      answer(request, response, shared, failed).catch(() => response.destroy());
    },
  );
  server.maxConnections = connectionsMax;
  server.on("clientError", (_, socket) => socket.destroy());
  server.listen(listen.port, listen.host);
  try {
    await once(server, "listening");
  } catch (error) {
    const place = hostAndPort(listen.host, listen.port);
    const message = `--metrics-listen ${place}: cannot listen there: ${messageOf(error)}`;
    throw new MigratekitError("usage", message, {
      remedy: "Name an address of this machine and a port that nothing else has.",
      cause: error,
    });
  }
  // An accepted connection may break; that ends nothing else.
  server.on("error", failed);
  const { address: host, port } = server.address() as AddressInfo;
  return {
    address: { host, port },
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(
  { method, url = "" }: IncomingMessage,
  response: ServerResponse,
  render: () => Promise<string>,
  failed: (error: unknown) => void,
): Promise<void> {
  const [path] = url.split("?", 1);
  if (path !== "/metrics" && path !== "/healthz") {
    return end(response, 404, textType, "There are /metrics and /healthz.\n");
  }
  if (method !== "GET" && method !== "HEAD") {
    response.setHeader("Allow", "GET, HEAD");
    return end(response, 405, textType, "This is for reading.\n");
  }
  if (path === "/healthz") return end(response, 200, textType, "ok\n");
  let text: string;
  try {
    text = await render();
  } catch (error) {
    failed(error);
    return end(response, 503, textType, `${redact(messageOf(error))}\n`);
  }
  end(response, 200, metricsType, text);
}

function end(response: ServerResponse, status: number, type: string, text: string): void {
  response.writeHead(status, {
    "Content-Type": type,
    "Content-Length": Buffer.byteLength(text),
    "Cache-Control": "no-store",
  });
  // For HEAD Node leaves the body out.
  response.end(text);
}

/** Who asks while `work` is under way gets what it comes to. */
function sharedWork(work: () => string | Promise<string>): () => Promise<string> {
  let underWay: Promise<string> | undefined;
  return () => {
    underWay ??= Promise.resolve()
      .then(work)
      .finally(() => {
        underWay = undefined;
      });
    return underWay;
  };
}
