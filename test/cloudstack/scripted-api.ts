import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import { pino } from "pino";
import { CloudStack, type CloudStackSettings } from "../../src/cloudstack/cloudstack.ts";
import { Secret } from "../../src/secret.ts";

export type Sent = Readonly<Record<string, string>>;
type Answer = object | { readonly errorcode: number; readonly errortext: string };
type Fault =
  /** The request is taken and not looked at, or carried out; either way nobody hears of it. */
  "lost-before" | "lost-after" | ((response: ServerResponse) => void);

/** Answers each command as a test says, counts, and misbehaves when it is told to. */
export class ScriptedApi {
  readonly requests: Sent[] = [];
  readonly faults: { command: string; fault: Fault }[] = [];
  readonly #commands = new Map<string, (sent: Sent) => Answer>();
  readonly #server = createServer((request, response) => this.#handle(request, response));
  /** Of the answers' Date header, before the true time. */
  aheadMs = 0;

  static async start(t: TestContext): Promise<ScriptedApi> {
    const api = new ScriptedApi();
    await new Promise<void>((resolve) => api.#server.listen(0, "127.0.0.1", resolve));
    t.after(async () => {
      api.#server.closeAllConnections();
      await new Promise((resolve) => api.#server.close(resolve));
    });
    api.on("listZones", () => ({ count: 1, zone: [{ id: "z", name: "zone1" }] }));
    return api;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/client/api`;
  }

  client(settings: Partial<CloudStackSettings> = {}, signal?: AbortSignal): CloudStack {
    const keys = { apiKey: new Secret("key"), secretKey: new Secret("secret") };
    const hasty = { patienceMs: 5_000, pollMs: 5, validMs: 300, requestTimeoutMs: 10_000 };
    return new CloudStack(
      { endpoint: this.url, ...keys, ...hasty, ...settings },
      { logger: pino({ level: "silent" }), signal },
    );
  }

  on(command: string, answer: (sent: Sent) => Answer): void {
    this.#commands.set(command, answer);
  }

  /** A write whose job is done at once. */
  onWrite(command: string, done: (sent: Sent) => void): void {
    this.on(command, (sent) => {
      done(sent);
      return { jobid: "job-done" };
    });
    this.on("queryAsyncJobResult", () => ({ jobstatus: 1, jobresult: {} }));
  }

  sent(command: string): Sent[] {
    return this.requests.filter((each) => each.command === command);
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = "";
    for await (const chunk of request) text += chunk;
    const sent: Sent = Object.fromEntries(new URLSearchParams(text));
    this.requests.push(sent);
    const command = sent.command ?? "";
    response.setHeader("Date", new Date(Date.now() + this.aheadMs).toUTCString());
    const at = this.faults.findIndex((each) => each.command === command);
    const fault = at < 0 ? undefined : this.faults.splice(at, 1)[0]!.fault;
    if (fault === "lost-before") return void response.destroy();
    if (typeof fault === "function") return void fault(response);
    const answer = this.#commands.get(command)?.(sent) ?? {
      errorcode: 432,
      errortext: `The given command ${command} does not exist`,
    };
    if (fault === "lost-after") return void response.destroy();
    response.statusCode = "errorcode" in answer ? Number(answer.errorcode) : 200;
    response.end(JSON.stringify({ [`${command.toLowerCase()}response`]: answer }));
  }
}

export function volume(id: string, more: object = {}): object {
  return { id, name: id, state: "Ready", type: "DATADISK", size: 1 << 30, account: "me", ...more };
}

export function instance(id: string, more: object = {}): object {
  return { id, name: id, state: "Stopped", account: "me", nic: [], details: {}, ...more };
}
