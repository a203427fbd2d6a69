/** The VMA progress API of one job: what is sent to it, and what may be concluded from its answers. */
import { MigratekitError, messageOf } from "../../errors.ts";
import { exchange, type HttpAnswer, HttpFailure } from "../../http.ts";

/** How a POST ended, split by what may be concluded from it. */
export type PostOutcome =
  | { readonly kind: "accepted" }
  /** The service said no, or the request never reached it: the update is not in. */
  | { readonly kind: "refused" | "unreachable"; readonly reason: string }
  /** No answer: the update may be in or not. */
  | { readonly kind: "unanswered"; readonly reason: string };

const answerBytesMax = 1 << 20;

export class VmaHttp {
  readonly #jobUrl: string;

  /** `baseUrl` without `/api/v1`; throws a usage error when it is no HTTP URL. */
  constructor(baseUrl: string, jobId: string) {
    this.#jobUrl = jobUrl(baseUrl, jobId);
  }

  /** Never throws, and is over after `timeoutMs` whatever the service does. */
  async post(update: object, timeoutMs: number): Promise<PostOutcome> {
    const url = `${this.#jobUrl}/update`;
    const request = { method: "POST", url, body: update, timeoutMs } as const;
    try {
      const { status } = await exchange({ ...request, answerBytesMax: "none" });
      if (status >= 200 && status < 300) return { kind: "accepted" };
      return { kind: "refused", reason: `HTTP ${status}` };
    } catch (error) {
      const unreached = error instanceof HttpFailure && error.kind === "unreached";
      return { kind: unreached ? "unreachable" : "unanswered", reason: reasonOf(error) };
    }
  }

  /** Rejects with a plain Error (no request attached) when there is no answer or too much of it. */
  async get(timeoutMs: number, signal?: AbortSignal): Promise<HttpAnswer> {
    const request = {
      method: "GET",
      url: this.#jobUrl,
      timeoutMs,
      answerBytesMax,
      signal,
    } as const;
    return await exchange(request).catch((error: unknown) => {
      signal?.throwIfAborted();
      throw new Error(reasonOf(error));
    });
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

function reasonOf(error: unknown): string {
  if (!(error instanceof HttpFailure)) return messageOf(error);
  return error.code === undefined ? error.message : `${error.code}: ${error.message}`;
}
