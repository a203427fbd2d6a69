/**
 * HTTP to the appliance's own APIs: requests bounded in time and size, nothing followed, nothing
 * trusted, no proxy of the environment.
 */

import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import type { Readable } from "node:stream";
import axios from "axios";
import { hasSystemCode, messageOf } from "./errors.ts";

export interface HttpRequest {
  readonly method: "GET" | "POST";
  readonly url: string;
  /** Sent as JSON. */
  readonly body?: object;
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
}

/**
 * Why there is no answer. `unreached`: the request never got to the service; after any other kind it
 * may have been carried out.
 */
export type HttpFailureKind = "unreached" | "timeout" | "too-large" | "lost";

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

/** One request and its answer, whatever the status. Rejects with `HttpFailure` or the signal's reason. */
export async function exchange(request: HttpRequest): Promise<HttpAnswer> {
  const { method, url, body, timeoutMs, answerBytesMax, signal } = request;
  signal?.throwIfAborted();
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(), Math.max(1, timeoutMs));
  try {
    const { status, data } = await client.request<Readable>({
      method,
      url,
      data: body,
      signal: signal ? AbortSignal.any([signal, timeout.signal]) : timeout.signal,
    });
    if (answerBytesMax !== "none") return { status, body: await readBounded(data, answerBytesMax) };
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
  return new HttpFailure(neverArrived(error) ? "unreached" : "lost", messageOf(error), code);
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
