import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";

export interface OmaRequestSeen {
  readonly method: string;
  readonly url: URL;
  readonly body: unknown;
}

type Answer = (response: ServerResponse) => void;

/** A small OMA API: keeps change IDs, counts requests, and misbehaves when it is told to. */
export class OmaServer {
  readonly requests: OmaRequestSeen[] = [];
  /** `VM path disk` to change ID. */
  readonly stored = new Map<string, string>();
  /** Taken one by one, oldest first, instead of the right answer. */
  readonly faults: Answer[] = [];
  /** Instead of every right answer, while set. */
  fault: Answer | undefined;
  /** Stores a posted ID even when the answer is a fault: as if only the answer were lost. */
  storesInSpiteOfFault = false;
  #vmPath = "";
  readonly #server = createServer((request, response) => this.#handle(request, response));

  static async start(t: TestContext, vmPath: string): Promise<OmaServer> {
    const oma = new OmaServer();
    oma.#vmPath = vmPath;
    await new Promise<void>((resolve) => oma.#server.listen(0, "127.0.0.1", resolve));
    t.after(() => oma.stop());
    return oma;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = "";
    for await (const chunk of request) text += chunk;
    const url = new URL(request.url ?? "", "http://oma");
    const body: unknown = text === "" ? undefined : JSON.parse(text);
    this.requests.push({ method: request.method ?? "", url, body });
    const fault = this.faults.shift() ?? this.fault;
    if (fault === undefined || this.storesInSpiteOfFault) this.#store(body);
    if (fault !== undefined) fault(response);
    else if (request.method === "POST") response.end('{"status":"ok"}');
    else this.#answerRead(url, response);
  }

  #store(body: unknown): void {
    if (typeof body !== "object" || body === null) return;
    if (!("change_id" in body && "disk_id" in body)) return;
    this.stored.set(`${this.#vmPath} ${body.disk_id}`, String(body.change_id));
  }

  #answerRead(url: URL, response: ServerResponse): void {
    const { searchParams } = url;
    const key = `${searchParams.get("vm_path")} ${searchParams.get("disk_id")}`;
    const changeId = this.stored.get(key);
    if (changeId === undefined) response.writeHead(404).end('{"error":"not found"}');
    else response.end(JSON.stringify({ change_id: changeId }));
  }
}

export const answerWith =
  (status: number, body: string, headers: Record<string, string> = {}): Answer =>
  (response) =>
    response.writeHead(status, headers).end(body);

export const hangUp: Answer = (response) => response.destroy();

export const neverAnswer: Answer = () => {};

/** The head at once, then a byte now and then, for ever. */
export const dripForEver: Answer = (response) => {
  response.writeHead(200);
  const timer = setInterval(() => response.write(" "), 20);
  response.on("close", () => clearInterval(timer));
};
