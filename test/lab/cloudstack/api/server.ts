/** The API's HTTP side: GET and POST, a signature on each call, throttling, faults, answers in JSON. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { CloudContext } from "../commands/command.ts";
import { commandNamed, mayUse } from "../commands/commands.ts";
import { syncPower } from "../commands/lifecycle.ts";
import type { AccountRecord } from "../world/records.ts";
import { ApiError, apiErrorCodes, errorBody } from "./api-error.ts";
import type { CloudStackCall, CloudStackCallLog } from "./call-log.ts";
import type { CloudStackFault, CloudStackFaults } from "./faults.ts";
import { Parameters } from "./parameters.ts";
import { whyUnverified } from "./signature.ts";

export const apiPath = "/client/api";
const bodyBytesMax = 1 << 20;

interface Answer {
  readonly status: number;
  /** JSON, by the response's name. */
  readonly body: object;
}

export class ApiHttpServer {
  readonly #context: CloudContext;
  readonly #faults: CloudStackFaults;
  readonly #log: CloudStackCallLog;
  readonly #server: Server;
  /** Called once a call was carried out, before it is answered. */
  readonly #carriedOut: (call: CloudStackCall) => void;
  readonly #callTimes = new Map<string, number[]>();

  constructor(
    context: CloudContext,
    faults: CloudStackFaults,
    log: CloudStackCallLog,
    carriedOut: (call: CloudStackCall) => void,
  ) {
    this.#context = context;
    this.#faults = faults;
    this.#log = log;
    this.#carriedOut = carriedOut;
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo | null)?.port ?? 0;
  }

  listen(port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, "127.0.0.1", () => {
        this.#server.off("error", reject);
        resolve();
      });
    });
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const given = await readParameters(request);
    if (given === undefined) {
      response.writeHead(404, { "Content-Type": "text/html" }).end("<html>404 Not Found</html>");
      return;
    }
    const find = (wanted: string) =>
      [...given].find(([name]) => name.toLowerCase() === wanted)?.[1];
    const account = this.#accountOf(find("apikey"));
    const call = this.#log.begin(request.method ?? "", given, account?.name);
    const lost = this.#take("lostRequest", call);
    if (lost) return drop(response, call, "cut before it was carried out");
    const late = this.#take("slow", call);
    if (late) await sleep(late.value ?? 1000, undefined, { ref: false });
    if (this.#spoil(call, response)) return;
    const twice = this.#take("requestTwice", call) !== undefined;
    if (twice) await this.#answer(call, given, account);
    const answer = await this.#answer(call, given, account);
    this.#carriedOut(call);
    if (this.#take("lostAnswer", call)) return drop(response, call, "cut before the answer");
    if (this.#take("noAnswer", call)) {
      call.outcome = "never answered";
      return;
    }
    call.outcome = answer.status;
    if (find("response")?.toLowerCase() !== "json") return sendXml(response, answer);
    response.writeHead(answer.status, { "Content-Type": "application/json;charset=UTF-8" });
    response.end(JSON.stringify(answer.body));
  }

  #take(name: CloudStackFault["name"], { command }: CloudStackCall): CloudStackFault | undefined {
    return this.#faults.take([name], command);
  }

  #accountOf(apiKey: string | undefined): AccountRecord | undefined {
    return this.#context.world.catalogue.accounts.find((account) => account.apiKey === apiKey);
  }

  /** What comes from in front of the API instead of its answer. */
  #spoil(call: CloudStackCall, response: ServerResponse): boolean {
    const html = this.#take("html", call);
    if (!html && !this.#take("http503", call)) return false;
    call.outcome = html ? 200 : 503;
    response.writeHead(call.outcome, { "Content-Type": "text/html" });
    response.end("<html><body>Service Unavailable</body></html>");
    return true;
  }

  async #answer(
    call: CloudStackCall,
    given: ReadonlyMap<string, string>,
    account: AccountRecord | undefined,
  ): Promise<Answer> {
    const known = commandNamed(call.command);
    try {
      const secretKeyOf = () => (account?.state === "enabled" ? account.secretKey : undefined);
      const fault = this.#take("apiError", call);
      if (fault) throw new ApiError(fault.value ?? 530, fault.text ?? "Made to fail");
      if (account === undefined || whyUnverified(given, secretKeyOf) !== undefined)
        throw new ApiError(
          apiErrorCodes.unauthorized,
          "unable to verify user credentials and/or request signature",
        );
      this.#throttle(account);
      if (known === undefined || !mayUse(account, known.name))
        throw new ApiError(
          apiErrorCodes.unsupportedAction,
          `The given command '${call.command}' either does not exist, is not available for user, or not available from ip address '/127.0.0.1'.`,
        );
      syncPower(this.#context);
      const parameters = new Parameters(known.name, given);
      const body = await known.command.run({ ...this.#context, account, parameters });
      return { status: 200, body: { [`${known.name.toLowerCase()}response`]: body } };
    } catch (error) {
      const refusal =
        error instanceof ApiError ? error : new ApiError(apiErrorCodes.internal, String(error));
      const name = known ? `${known.name.toLowerCase()}response` : "errorresponse";
      return { status: refusal.code, body: { [name]: errorBody(refusal) } };
    }
  }

  #throttle(account: AccountRecord): void {
    const limit = this.#context.world.settings.apiLimit;
    if (limit === undefined || account.roleType === "Admin") return;
    const now = performance.now();
    const sinceMs = now - limit.intervalSeconds * 1000;
    const times = (this.#callTimes.get(account.id) ?? []).filter((time) => time > sinceMs);
    this.#callTimes.set(account.id, times);
    if (times.length >= limit.max)
      throw new ApiError(
        apiErrorCodes.apiLimit,
        `The given user has reached his/her account api limit, please retry after ${Math.ceil(times[0]! - sinceMs)} ms.`,
      );
    times.push(now);
  }
}

/** Of query and body; undefined where this is not the API's place. */
async function readParameters(
  request: IncomingMessage,
): Promise<ReadonlyMap<string, string> | undefined> {
  const url = new URL(request.url ?? "/", "http://cloudstack");
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) {
    text += chunk;
    if (text.length > bodyBytesMax) throw new RangeError("The request is too large");
  }
  if (url.pathname !== apiPath) return undefined;
  return new Map([...url.searchParams, ...new URLSearchParams(text)]);
}

function drop(response: ServerResponse, call: CloudStackCall, outcome: string): void {
  call.outcome = outcome;
  response.socket?.resetAndDestroy();
}

/** What a caller gets who does not ask for JSON; only so much that it is not mistaken for it. */
function sendXml(response: ServerResponse, { status, body }: Answer): void {
  const [name] = Object.keys(body);
  response.writeHead(status, { "Content-Type": "text/xml;charset=UTF-8" });
  response.end(`<?xml version="1.0" encoding="UTF-8"?><${name} cloud-stack-version="4.19"/>`);
}
