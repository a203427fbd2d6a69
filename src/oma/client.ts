import { setTimeout as sleep } from "node:timers/promises";
import axios from "axios";
import { messageOf } from "../errors.ts";

export interface OmaClientOptions {
  /** CLOUDSTACK_API_URL, e.g. http://localhost:8082. */
  readonly baseUrl: string;
  /** Of one request, from connecting to the last byte. Default 10 000. */
  readonly requestTimeoutMs?: number;
  /** Requests for one purpose, the first included. Default 5. */
  readonly attempts?: number;
  /** Before the second request; doubles, up to 5 s. Default 500. */
  readonly firstDelayMs?: number;
}

export interface OmaRequest {
  readonly method: "GET" | "POST";
  /** After the base; already percent-encoded. */
  readonly path: string;
  readonly body?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** Overrides the client's. */
  readonly attempts?: number;
}

const maxAnswerBytes = 64 * 1024;
const maxDelayMs = 5_000;

/** Why a request got no usable answer. One line, without anything secret. */
export class OmaFailure extends Error {
  override readonly name = "OmaFailure";
  /** False: the same request would be refused again. */
  readonly retryable: boolean;

  constructor(message: string, retryable: boolean) {
    super(message);
    this.retryable = retryable;
  }
}

/**
 * Requests to the OMA API: bounded in time, size and number, never redirected, never through a
 * proxy of the environment. Errors carry no axios object, as that holds the whole request.
 */
export class OmaClient {
  /** The base for messages: without user, password and query. */
  readonly displayUrl: string;
  readonly #options: Required<OmaClientOptions>;

  constructor(options: OmaClientOptions) {
    this.#options = {
      requestTimeoutMs: 10_000,
      attempts: 5,
      firstDelayMs: 500,
      ...options,
      baseUrl: options.baseUrl.replace(/\/+$/, ""),
    };
    this.displayUrl = displayUrlOf(this.#options.baseUrl);
  }

  /** Status 200–299 or 404 with its body. Throws `OmaFailure`, or the signal's reason. */
  async request(request: OmaRequest): Promise<{ status: number; body: string }> {
    const attempts = request.attempts ?? this.#options.attempts;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#requestOnce(request);
      } catch (error) {
        request.signal?.throwIfAborted();
        if (attempt >= attempts || (error instanceof OmaFailure && !error.retryable)) throw error;
      }
      const delayMs = Math.min(this.#options.firstDelayMs * 2 ** (attempt - 1), maxDelayMs);
      await sleep(delayMs, undefined, { signal: request.signal });
    }
  }

  async #requestOnce(request: OmaRequest): Promise<{ status: number; body: string }> {
    const timeoutMs = this.#options.requestTimeoutMs;
    const timeout = AbortSignal.timeout(timeoutMs);
    const signals = request.signal === undefined ? [timeout] : [timeout, request.signal];
    try {
      const { status, data } = await axios.request<string>({
        method: request.method,
        url: `${this.#options.baseUrl}${request.path}`,
        data: request.body,
        signal: AbortSignal.any(signals),
        maxRedirects: 0,
        maxContentLength: maxAnswerBytes,
        proxy: false,
        responseType: "text",
        transformResponse: (text: string) => text,
        validateStatus: () => true,
      });
      checkStatus(status, data);
      return { status, body: data };
    } catch (error) {
      if (error instanceof OmaFailure) throw error;
      if (timeout.aborted) throw new OmaFailure(`no answer within ${timeoutMs} ms`, true);
      throw new OmaFailure(oneLine(messageOf(error)), true);
    }
  }
}

function checkStatus(status: number, body: string): void {
  if ((status >= 200 && status < 300) || status === 404) return;
  const said = body === "" ? "" : `: ${oneLine(body)}`;
  throw new OmaFailure(
    `HTTP status ${status}${said}`,
    status >= 500 || [408, 429].includes(status),
  );
}

function displayUrlOf(url: string): string {
  try {
    const { protocol, host, pathname } = new URL(url);
    return `${protocol}//${host}${pathname === "/" ? "" : pathname}`;
  } catch {
    return "the OMA API";
  }
}

/** Text of another program, fit for one line of ours. */
export function oneLine(text: string): string {
  const flat = text.replaceAll(/[\s\p{Cc}]+/gu, " ").trim();
  return flat.length > 200 ? `${flat.slice(0, 200)}…` : flat;
}
