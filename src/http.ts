/**
 * HTTP to JSON APIs, the appliance's own and CloudStack's: requests bounded in time and size, nothing
 * followed, nothing trusted, no proxy of the environment.
 */

import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import type { Readable } from "node:stream";
import axios from "axios";
import { hasSystemCode, messageOf } from "./errors.ts";

export interface HttpRequest {
  readonly method: "GET" | "POST";
  readonly url: string;
  /** Sent as JSON; bytes are sent as they are. */
  readonly body?: object;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent instead as a form: `a=1&b=2`, percent-encoded by the caller. */
  readonly form?: string;
  /** Whom `https:` trusts, where it is not the system's authorities. */
  readonly agent?: HttpsAgent | undefined;
  /** From connecting to the last byte of the answer. */
  readonly timeoutMs: number;
  /** How long an answer may be; `none` resolves at the status and leaves the body `""`. */
  readonly answerBytesMax: number | "none";
  readonly signal?: AbortSignal | undefined;
}

export interface HttpAnswer {
  readonly status: number;
  /** UTF-8, whatever the headers say. */
  readonly body: string;
  /** Headers as they came: when the service answered, and when it wants to be asked again. */
  readonly date?: string | undefined;
  readonly retryAfter?: string | undefined;
}

/**
 * Why there is no answer. `unreached`, `untrusted` (its certificate): the request never got to the
 * service; after any other kind it may have been carried out.
 */
export type HttpFailureKind = "unreached" | "untrusted" | "timeout" | "too-large" | "lost";

/** A plain error: the one of axios holds the whole request, with its secrets. */
export class HttpFailure extends Error {
  override readonly name = "HttpFailure";
  readonly kind: HttpFailureKind;
  /** Of the system or of axios: `ECONNREFUSED`, `ERR_BAD_REQUEST` … */
  readonly code: string | undefined;

  constructor(kind: HttpFailureKind, message: string, code?: string) {
    super(message);
    this.kind = kind;
    this.code = code;
  }
}

const client = axios.create({
  maxRedirects: 0, // a redirect could lead the data anywhere
  proxy: false, // an environment's proxy is not meant for the appliance's own APIs
  decompress: false,
  responseType: "stream",
  validateStatus: () => true,
  headers: { "Accept-Encoding": "identity", Accept: "application/json" },
  // A connection a request: one kept open may be closed by the service just as it is used again.
  httpAgent: new HttpAgent({ keepAlive: false }),
  httpsAgent: new HttpsAgent({ keepAlive: false }),
});

const formType = "application/x-www-form-urlencoded; charset=utf-8";

/** One request and its answer, whatever the status. Rejects with `HttpFailure` or the signal's reason. */
export async function exchange(request: HttpRequest): Promise<HttpAnswer> {
  const { method, url, body, form, agent, timeoutMs, answerBytesMax, signal } = request;
  const type = form === undefined ? {} : { "Content-Type": formType };
  signal?.throwIfAborted();
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(), Math.max(1, timeoutMs));
  try {
    const { status, data, headers } = await client.request<Readable>({
      method,
      url,
      data: form ?? body,
      headers: { ...type, ...request.headers },
      ...(agent === undefined ? {} : { httpsAgent: agent }),
      signal: signal ? AbortSignal.any([signal, timeout.signal]) : timeout.signal,
    });
    if (answerBytesMax !== "none") {
      const text = await readBounded(data, answerBytesMax);
      return { status, body: text, date: headers.date, retryAfter: headers["retry-after"] };
    }
    discard(data);
    return { status, body: "" };
  } catch (error) {
    signal?.throwIfAborted();
    if (timeout.signal.aborted)
      throw new HttpFailure("timeout", `no answer within ${timeoutMs} ms`);
    throw failureOf(error);
  } finally {
    clearTimeout(timer);
  }
}

function failureOf(error: unknown): HttpFailure {
  if (error instanceof HttpFailure) return error;
  const code =
    error instanceof Error && "code" in error && typeof error.code === "string"
      ? error.code
      : undefined;
  return new HttpFailure(kindOf(error, code), messageOf(error), code);
}

function kindOf(error: unknown, code = ""): HttpFailureKind {
  if (neverArrived(error)) return "unreached";
  // What OpenSSL and the check of the name say of a certificate, before a byte of HTTP is sent.
  return /^(ERR_TLS_CERT|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_MISMATCH)/.test(code)
    ? "untrusted"
    : "lost";
}

function neverArrived(error: unknown): boolean {
  return hasSystemCode(
    error,
    "ECONNREFUSED",
    "ENOTFOUND",
    "EAI_AGAIN",
    "EHOSTUNREACH",
    "ENETUNREACH",
    "ETIMEDOUT",
  );
}

async function readBounded(stream: Readable, bytesMax: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bytesMax)
      throw new HttpFailure("too-large", `the answer is longer than ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  return new TextDecoder().decode(Buffer.concat(chunks));
}

const discardedBytesMax = 64 * 1024;
const discardTimeoutMs = 1000;

/** Lets a short answer end in peace and cuts off any other; nobody waits for it. */
function discard(stream: Readable): void {
  let bytes = 0;
  const timer = setTimeout(() => stream.destroy(), discardTimeoutMs).unref();
  stream.on("error", () => {});
  stream.on("close", () => clearTimeout(timer));
  stream.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > discardedBytesMax) stream.destroy();
  });
}
