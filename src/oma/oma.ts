/** The OMA API, where the appliance keeps change IDs. */

import { isChangeId } from "../change-id.ts";
import { MigratekitError, messageOf } from "../errors.ts";
import { exchange, HttpFailure } from "../http.ts";
import { retry } from "../retry.ts";
import { oneLine } from "../text.ts";

export interface OmaOptions {
  /** CLOUDSTACK_API_URL, e.g. http://localhost:8082. */
  readonly baseUrl: string;
  /** Of one request, from connecting to the last byte. Default 10 000. */
  readonly requestTimeoutMs?: number;
  /** Requests for one purpose, the first included. Default 5. */
  readonly attempts?: number;
  /** Before the second request; doubles, up to 5 s. Default 500. */
  readonly firstDelayMs?: number;
}

/** What is stored under a job for one disk. */
export interface ChangeIdUpload {
  readonly deviceKey: number;
  readonly changeId: string;
  /** What the API held when the copy began. */
  readonly previousChangeId?: string | undefined;
}

interface OmaRequest {
  readonly method: "GET" | "POST";
  /** After the base; already percent-encoded. */
  readonly path: string;
  readonly body?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
}

const answerBytesMax = 64 * 1024;
const delayMsMax = 5_000;

/** Why a request got no usable answer. One line, without anything secret. */
class OmaFailure extends Error {
  override readonly name = "OmaFailure";
  /** False: the same request would be refused again. */
  readonly retryable: boolean;

  constructor(message: string, retryable: boolean) {
    super(message);
    this.retryable = retryable;
  }
}

export class OmaApi {
  /** The base for messages: without user, password and query. */
  readonly displayUrl: string;
  readonly #options: Required<OmaOptions>;

  constructor(options: OmaOptions) {
    this.#options = {
      requestTimeoutMs: 10_000,
      attempts: 5,
      firstDelayMs: 500,
      ...options,
      baseUrl: options.baseUrl.replace(/\/+$/, ""),
    };
    this.displayUrl = displayUrlOf(this.#options.baseUrl);
  }

  /** Undefined: the API holds none. Throws `change-id-read`, or the signal's reason. */
  async readChangeId(
    vmPath: string,
    deviceKey: number,
    signal?: AbortSignal,
  ): Promise<string | undefined> {
    const query = new URLSearchParams({ vm_path: vmPath, disk_id: `disk-${deviceKey}` });
    try {
      const path = `/api/v1/replications/changeid?${query}`;
      const { status, body } = await this.#request({ method: "GET", path, signal });
      return status === 404 ? undefined : parseAnswer(body);
    } catch (error) {
      signal?.throwIfAborted();
      throw new MigratekitError(
        "change-id-read",
        `Reading the change ID of disk ${deviceKey} from ${this.displayUrl} failed: ` +
          messageOf(error),
        { cause: error, context: { deviceKey, url: this.displayUrl } },
      );
    }
  }

  /** Throws `change-id-write`, or the signal's reason. `attempts` overrides the API's own. */
  async storeChangeId(
    jobId: string,
    upload: ChangeIdUpload,
    options: { readonly signal?: AbortSignal | undefined; readonly attempts?: number } = {},
  ): Promise<void> {
    const { deviceKey, changeId, previousChangeId = "" } = upload;
    try {
      const { status } = await this.#request(
        {
          method: "POST",
          path: `/api/v1/replications/${encodeURIComponent(jobId)}/changeid`,
          body: {
            change_id: changeId,
            disk_id: `disk-${deviceKey}`,
            previous_change_id: previousChangeId,
          },
          signal: options.signal,
        },
        options.attempts,
      );
      if (status === 404) throw new OmaFailure(`the API does not know job ${jobId}`, false);
    } catch (error) {
      options.signal?.throwIfAborted();
      throw new MigratekitError(
        "change-id-write",
        `Storing the change ID of disk ${deviceKey} at ${this.displayUrl} failed: ` +
          messageOf(error),
        { cause: error, context: { deviceKey, url: this.displayUrl } },
      );
    }
  }

  /** Status 200–299 or 404 with its body. Throws `OmaFailure`, or the signal's reason. */
  async #request(request: OmaRequest, attempts = this.#options.attempts) {
    return await retry(() => this.#requestOnce(request), {
      attemptsMax: attempts,
      firstPauseMs: this.#options.firstDelayMs,
      pauseMsMax: delayMsMax,
      isPassing: (error) => !(error instanceof OmaFailure) || error.retryable,
      signal: request.signal,
    });
  }

  async #requestOnce({ path, ...request }: OmaRequest) {
    const { baseUrl, requestTimeoutMs: timeoutMs } = this.#options;
    const url = `${baseUrl}${path}`;
    const answer = await exchange({ ...request, url, timeoutMs, answerBytesMax }).catch((error) => {
      throw error instanceof HttpFailure ? new OmaFailure(whyUnanswered(error), true) : error;
    });
    checkStatus(answer.status, answer.body);
    return answer;
  }
}

function whyUnanswered({ kind, message }: HttpFailure): string {
  // The name of the setting is what people find when they look for this.
  if (kind === "too-large") return `maxContentLength size of ${answerBytesMax} exceeded`;
  return short(message);
}

function checkStatus(status: number, body: string): void {
  if ((status >= 200 && status < 300) || status === 404) return;
  const said = body === "" ? "" : `: ${short(body)}`;
  throw new OmaFailure(
    `HTTP status ${status}${said}`,
    status >= 500 || [408, 429].includes(status),
  );
}

/** `{"change_id": "…"}`; nothing, null or an empty text for none. Throws `OmaFailure`. */
function parseAnswer(body: string): string | undefined {
  if (body.trim() === "") return undefined;
  let answer: unknown;
  try {
    answer = JSON.parse(body);
  } catch {
    throw new OmaFailure(`the answer is not JSON: ${short(body)}`, false);
  }
  if (typeof answer !== "object" || answer === null || Array.isArray(answer)) {
    throw new OmaFailure(`the answer is not a JSON object: ${short(body)}`, false);
  }
  if ("error" in answer) throw new OmaFailure(`the API answered: ${short(body)}`, false);
  const changeId = "change_id" in answer ? (answer.change_id ?? "") : "";
  if (typeof changeId !== "string") {
    throw new OmaFailure(`change_id is not a text: ${short(body)}`, false);
  }
  if (changeId.trim() === "") return undefined;
  if (isChangeId(changeId.trim())) return changeId.trim();
  throw new OmaFailure(`this is not a change ID: ${short(changeId)}`, false);
}

function displayUrlOf(url: string): string {
  try {
    const { protocol, host, pathname } = new URL(url);
    return `${protocol}//${host}${pathname === "/" ? "" : pathname}`;
  } catch {
    return "the OMA API";
  }
}

function short(text: string): string {
  return oneLine(text, 200);
}
