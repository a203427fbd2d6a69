/** One API of CloudStack, spoken: signed, bounded, patient. What the commands mean is not known here. */

import type { Agent } from "node:https";
import type { Logger } from "pino";
import { MigratekitError, messageOf } from "../../errors.ts";
import { exchange, type HttpAnswer, HttpFailure } from "../../http.ts";
import { pause, retry } from "../../retry.ts";
import { type Fields, isFields, parseAnswer } from "./answer.ts";
import { ApiFault, LostAnswer } from "./faults.ts";
import { awaitJob } from "./jobs.ts";
import { type Keys, type Parameters, signedForm } from "./signature.ts";
import { type Trust, trustingAgent } from "./trust.ts";

export interface WireSettings extends Keys, Trust {
  /** `https://cloud.example.com/client/api` */
  readonly endpoint: string;
  /** Of one request, from connecting to the last byte. Default 60 s. */
  readonly requestTimeoutMs?: number | undefined;
  /** How long a request stays valid: after it one that got lost cannot be carried out. Default 60 s. */
  readonly validMs?: number | undefined;
  /** How long a reading or a server that is busy is tried again. Default 2 min. */
  readonly patienceMs?: number | undefined;
  /** Between two looks at a job. Default 2 s. */
  readonly pollMs?: number | undefined;
  /** How long a job may take. Default 10 min. */
  readonly jobDeadlineMs?: number | undefined;
  /** Entries of a list that are asked for at once; servers refuse more than 500. */
  readonly pageSize?: number | undefined;
}

export interface WireContext {
  readonly logger: Logger;
  readonly signal?: AbortSignal | undefined;
  /** Right before a request that changes something is signed, which from then on is valid for `validMs`. */
  readonly beforeWrite?: () => Promise<void>;
}

const answerBytesMax = 32 * 1024 * 1024;
const pagesMax = 1_000;
const validMsDefault = 60_000;

export class Wire {
  readonly logger: Logger;
  readonly signal: AbortSignal | undefined;
  readonly pollMs: number;
  readonly jobDeadlineMs: number;
  readonly #settings: WireSettings;
  readonly #agent: Agent | undefined;
  readonly #patienceMs: number;
  readonly #beforeWrite: (() => Promise<void>) | undefined;
  /** Of the server's clock before ours, by the date of its answers: it judges the expiry. */
  #serverAheadMs = 0;

  /** @throws MigratekitError `usage` */
  constructor(settings: WireSettings, { logger, signal, beforeWrite }: WireContext) {
    this.logger = logger;
    this.signal = signal;
    this.#settings = settings;
    this.#beforeWrite = beforeWrite;
    this.#patienceMs = settings.patienceMs ?? 120_000;
    this.pollMs = settings.pollMs ?? 2_000;
    this.jobDeadlineMs = settings.jobDeadlineMs ?? 600_000;
    this.#agent = settings.endpoint.startsWith("https:") ? trustingAgent(settings) : undefined;
  }

  /** A reading; tried again while that may help. @throws ApiFault, MigratekitError, the signal's reason */
  async read(command: string, parameters: Parameters = {}): Promise<Fields> {
    try {
      let internal = 0;
      return await this.#patiently(command, parameters, (error) => {
        // 530 is whatever went wrong inside: a database that comes back, or a mistake that stays.
        if (error instanceof ApiFault && error.errorCode === 530) return ++internal < 4;
        return error instanceof LostAnswer;
      });
    } catch (error) {
      throw error instanceof LostAnswer ? this.#unreachable(error.message, error) : error;
    }
  }

  /** Every entry of a list, whatever the number of its pages. */
  async list(command: string, field: string, parameters: Parameters = {}): Promise<Fields[]> {
    const { pageSize = 500 } = this.#settings;
    const found = new Map<unknown, Fields>();
    for (let page = 1; page <= pagesMax; page++) {
      const paging = { page: String(page), pagesize: String(pageSize) };
      const answer = await this.read(command, { ...parameters, ...paging });
      const entries = answer[field] ?? [];
      if (!Array.isArray(entries) || !entries.every(isFields)) {
        throw new MigratekitError("cloudstack-protocol", `${command} gave no list of ${field}`);
      }
      // What is made or removed meanwhile moves the pages: an entry may come twice.
      for (const entry of entries) found.set(entry.id ?? found.size, entry);
      const count = typeof answer.count === "number" ? answer.count : 0;
      if (entries.length < pageSize && page * pageSize >= count) return [...found.values()];
    }
    throw new MigratekitError("cloudstack-protocol", `the list of ${command} has no end`);
  }

  /**
   * A write and its job, to the end; asked once, or again where it certainly was not begun. `what` is told
   * while it lasts.
   * @throws ApiFault (refused, or failed in its job), LostAnswer, MigratekitError, the signal's reason
   */
  async write(command: string, parameters: Parameters, what: string): Promise<void> {
    const { logger, signal, pollMs, jobDeadlineMs: deadlineMs } = this;
    const { validMs: settleMs = validMsDefault } = this.#settings;
    const answer = await this.#patiently(command, parameters, () => false, this.#beforeWrite);
    const id = answer.jobid;
    if (typeof id !== "string") return;
    logger.debug({ command, job: id }, `CloudStack is to ${what}`);
    const ask = (jobid: string) => this.read("queryAsyncJobResult", { jobid });
    await awaitJob({ logger, signal, pollMs, settleMs, ask }, { command, id, what, deadlineMs });
  }

  async #patiently(
    command: string,
    parameters: Parameters,
    isRepeatable: (error: unknown) => boolean,
    beforeEach?: () => Promise<void>,
  ): Promise<Fields> {
    let clockSet = false;
    const ask = async () => {
      await beforeEach?.();
      return await this.#ask(command, parameters);
    };
    return await retry(ask, {
      limitMs: this.#patienceMs,
      firstPauseMs: 500,
      pauseMsMax: 10_000,
      signal: this.signal,
      isPassing: async (error) => {
        if (error instanceof Throttled) await pause(error.waitMs, this.signal);
        if (error instanceof Throttled || error instanceof Unreached) return true;
        // Refused as it came, so nothing was done: perhaps for its expiry, by a clock that we know now.
        const firstLogin = error instanceof ApiFault && error.errorCode === 401 && !clockSet;
        if (firstLogin) clockSet = true;
        if (firstLogin && Math.abs(this.#serverAheadMs) > 20_000) return true;
        return isRepeatable(error);
      },
      onWait: ({ error, attempt }) =>
        this.logger[attempt < 3 ? "debug" : "warn"](
          { command, attempt },
          `CloudStack's API: ${messageOf(error)}; trying again for a while`,
        ),
    }).catch((error: unknown) => {
      if (error instanceof Throttled) throw new ApiFault(command, 429, error.message, false);
      throw error instanceof Unreached ? this.#unreachable(error.message, error) : error;
    });
  }

  async #ask(command: string, parameters: Parameters): Promise<Fields> {
    const { endpoint: url, requestTimeoutMs = 60_000, validMs = validMsDefault } = this.#settings;
    // Expiry and the server's clock are known by the second.
    const expiresMs = Math.ceil((Date.now() + validMs) / 1_000) * 1_000;
    const overMs = expiresMs + 1_000;
    const all = { ...parameters, command };
    const form = signedForm(all, this.#settings, expiresMs + this.#serverAheadMs);
    const { signal } = this;
    const answer = await exchange({
      ...{ method: "POST", url, form, agent: this.#agent, answerBytesMax, signal },
      timeoutMs: requestTimeoutMs,
    }).catch((error: unknown) => {
      throw error instanceof HttpFailure ? this.#failureOf(error, command, overMs) : error;
    });
    this.#setClock(answer);
    const { status, body } = answer;
    if (status === 429) throw new Throttled(answer);
    // A proxy before the management server; the server itself may have got it.
    if ([502, 503, 504].includes(status))
      throw new LostAnswer(command, `HTTP status ${status}`, overMs);
    return parseAnswer(command, status, body);
  }

  #setClock({ date }: HttpAnswer): void {
    const serverMs = Date.parse(date ?? "");
    const aheadMs = serverMs - Date.now();
    this.#serverAheadMs = Math.abs(aheadMs) > 2_000 ? aheadMs : 0;
  }

  #failureOf(failure: HttpFailure, command: string, overMs: number): Error {
    const { kind, message } = failure;
    if (kind === "unreached") return new Unreached(message);
    if (kind === "untrusted") {
      return new MigratekitError(
        "cloudstack-certificate",
        `the certificate of ${this.#settings.endpoint} is not trusted: ${message}`,
        { cause: failure },
      );
    }
    if (kind === "too-large")
      return new MigratekitError("cloudstack-protocol", `${command}: ${message}`);
    return new LostAnswer(command, message, overMs);
  }

  #unreachable(message: string, cause: unknown): MigratekitError {
    const { endpoint } = this.#settings;
    return new MigratekitError(
      "cloudstack-unreachable",
      `no answer from CloudStack's API at ${endpoint}: ${message}`,
      { cause, context: { endpoint } },
    );
  }
}

/** The request never got there. */
class Unreached extends Error {}

/** Too many requests: this one was not looked at. */
class Throttled extends Error {
  readonly waitMs: number;

  constructor({ retryAfter = "", body }: HttpAnswer) {
    super(`it wants fewer requests in a time: ${body.slice(0, 200)}`);
    this.waitMs = Math.min(Number(retryAfter) || 1, 60) * 1000;
  }
}
