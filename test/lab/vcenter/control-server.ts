/** The control API of the lab: plain HTTP on the loopback, JSON both ways, so that scripts can drive it. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { controlRoutes } from "./control-routes.ts";
import { Fields } from "./fields.ts";
import type { VcenterLab } from "./vcenter.ts";

const bodyBytesMax = 1_048_576;

export class ControlServer {
  readonly #lab: VcenterLab;
  readonly #server: Server;

  constructor(lab: VcenterLab) {
    this.#lab = lab;
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  get port(): number {
    return (this.#server.address() as AddressInfo | null)?.port ?? 0;
  }

  listen(host: string, port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, host, resolve);
    });
  }

  stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    return closed;
  }

  /** 200 with the route's answer, 404 for an unknown route, 400 with `{"error"}` for a bad request. */
  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://lab");
    const route = controlRoutes[`${request.method} ${url.pathname}`];
    if (!route) {
      respond(response, 404, { error: "No such route", routes: Object.keys(controlRoutes) });
      return;
    }
    try {
      const query = Object.fromEntries(url.searchParams);
      const body = request.method === "POST" ? await readJson(request) : {};
      respond(response, 200, (await route(this.#lab, new Fields({ ...query, ...body }))) ?? {});
    } catch (error) {
      respond(response, 400, { error: error instanceof Error ? error.message : String(error) });
    }
  }
}

async function readJson(request: IncomingMessage): Promise<Record<string, unknown>> {
  let text = "";
  for await (const chunk of request as AsyncIterable<Buffer>) {
    text += chunk;
    if (text.length > bodyBytesMax) throw new RangeError("The request is too large");
  }
  const parsed: unknown = text.trim() === "" ? {} : JSON.parse(text);
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw new TypeError("The body must be a JSON object");
  }
  return parsed as Record<string, unknown>;
}

function respond(response: ServerResponse, status: number, body: unknown): void {
  const text = `${JSON.stringify(body)}\n`;
  response.writeHead(status, { "Content-Type": "application/json" }).end(text);
}
