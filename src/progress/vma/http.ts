/** HTTP to the VMA progress API: one bounded request at a time, nothing trusted, nothing followed. */
import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import type { Readable } from "node:stream";
import axios, { type AxiosInstance } from "axios";
import { hasSystemCode, MigratekitError, messageOf } from "../../errors.ts";

/** How a POST ended, split by what may be concluded from it. */
export type PostOutcome =
  | { readonly kind: "accepted" }
  /** The service said no, or the request never reached it: the update is not in. */
  | { readonly kind: "refused" | "unreachable"; readonly reason: string }
  /** No answer: the update may be in or not. */
  | { readonly kind: "unanswered"; readonly reason: string };

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

/** More of an answer than this is not read. */
export const answerBytesMax = 1 << 20;
const discardedBytesMax = 64 * 1024;
const discardTimeoutMs = 1000;

export class VmaHttp {
  readonly #jobUrl: string;
  readonly #axios: AxiosInstance;

  /** `baseUrl` without `/api/v1`; throws a usage error when it is no HTTP URL. */
  constructor(baseUrl: string, jobId: string) {
    this.#jobUrl = jobUrl(baseUrl, jobId);
    this.#axios = axios.create({
      maxRedirects: 0, // a redirect could lead the job's data anywhere
      proxy: false, // an environment's proxy is not meant for the appliance's own API
      decompress: false,
      responseType: "stream",
      validateStatus: () => true,
      headers: { "Accept-Encoding": "identity", Accept: "application/json" },
      // A connection a request: one kept open may be closed by the service just as it is used again.
      httpAgent: new HttpAgent({ keepAlive: false }),
      httpsAgent: new HttpsAgent({ keepAlive: false }),
    });
  }

  /** Never throws, and is over after `timeoutMs` whatever the service does. */
  async post(update: object, timeoutMs: number): Promise<PostOutcome> {
    const deadline = deadlineIn(timeoutMs);
    try {
      const response = await this.#axios.post<Readable>(`${this.#jobUrl}/update`, update, {
        signal: deadline.signal,
      });
      discard(response.data);
      if (response.status >= 200 && response.status < 300) return { kind: "accepted" };
      return { kind: "refused", reason: `HTTP ${response.status}` };
    } catch (error) {
      if (deadline.signal.aborted) {
        return { kind: "unanswered", reason: `no answer within ${timeoutMs} ms` };
      }
      const kind = neverArrived(error) ? "unreachable" : "unanswered";
      return { kind, reason: reasonOf(error) };
    } finally {
      deadline.clear();
    }
  }

  /** Rejects with a plain Error (no request attached) when there is no answer or too much of it. */
  async get(timeoutMs: number, signal?: AbortSignal): Promise<HttpAnswer> {
    const deadline = deadlineIn(timeoutMs);
    try {
      const response = await this.#axios.get<Readable>(this.#jobUrl, {
        signal: signal ? AbortSignal.any([signal, deadline.signal]) : deadline.signal,
      });
      return { status: response.status, body: await readBounded(response.data) };
    } catch (error) {
      signal?.throwIfAborted();
      throw new Error(
        deadline.signal.aborted ? `no answer within ${timeoutMs} ms` : reasonOf(error),
      );
    } finally {
      deadline.clear();
    }
  }
}

function jobUrl(baseUrl: string, jobId: string): string {
  let base: URL;
  try {
    base = new URL(baseUrl);
    if (base.protocol !== "http:" && base.protocol !== "https:") throw new Error("no HTTP URL");
  } catch {
    throw new MigratekitError("usage", `The VMA API's address is not an HTTP URL: ${baseUrl}`);
  }
  // URLs cannot carry these as a name, however they are encoded: they mean "here" and "one up".
  if (jobId === "" || jobId === "." || jobId === "..") {
    throw new MigratekitError("usage", `This cannot be a job ID: '${jobId}'`);
  }
  base.pathname = `${base.pathname.replace(/\/+$/, "")}/api/v1/progress/${encodeURIComponent(jobId.toWellFormed())}`;
  base.search = "";
  base.hash = "";
  return base.href;
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

/** The text only: an axios error holds the whole request. */
function reasonOf(error: unknown): string {
  if (error instanceof Error && "code" in error && typeof error.code === "string") {
    return `${error.code}: ${messageOf(error)}`;
  }
  return messageOf(error);
}

async function readBounded(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > answerBytesMax)
      throw new Error(`the answer is longer than ${answerBytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

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

function deadlineIn(timeoutMs: number): { signal: AbortSignal; clear(): void } {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), Math.max(1, timeoutMs));
  return { signal: controller.signal, clear: () => clearTimeout(timer) };
}
