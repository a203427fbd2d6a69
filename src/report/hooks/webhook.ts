/** `--webhook`: a server of the operator's that is told of runs by POST, signed where a secret is shared with it. */
import { createHmac, randomUUID } from "node:crypto";
import { Agent } from "node:https";
import { getCACertificates } from "node:tls";
import type { Logger } from "pino";
import type { Config } from "../../config.ts";
import { messageOf } from "../../errors.ts";
import { exchange, HttpFailure } from "../../http.ts";
import { addSecret, redact } from "../../logger.ts";
import { readSecretFile } from "../../password-file.ts";
import { retry } from "../../retry.ts";
import { Secret } from "../../secret.ts";
import { formatDuration, oneLine } from "../../text.ts";

const patience = { attemptsMax: 5, firstPauseMs: 250, pauseMsMax: 2000 };

/** A status that is none of 200 to 299. */
class NotTaken extends Error {
  readonly status: number;

  constructor(status: number) {
    const redirect = status >= 300 && status < 400 ? ": a redirect is not followed" : "";
    super(`it answered with status ${status}${redirect}`);
    this.status = status;
  }
}

export class Webhook {
  readonly #url: string;
  readonly #secret: Secret | undefined;
  readonly #timeoutMs: number;
  readonly #logger: Logger;

  private constructor(url: string, secret: Secret | undefined, timeoutMs: number, logger: Logger) {
    this.#url = url;
    this.#secret = secret;
    this.#timeoutMs = timeoutMs;
    this.#logger = logger;
  }

  /** That of the settings. @throws MigratekitError `usage` for a secret that cannot be read */
  static of(config: Config, logger: Logger): Webhook | undefined {
    const { webhook: url, webhookSecretFile: file, webhookTimeout } = config;
    if (url === undefined) return undefined;
    const secret = file === undefined ? undefined : readSecret(file, logger);
    return new Webhook(url.reveal(), secret, webhookTimeout, logger);
  }

  /** What goes wrong is a warning. Never rejects. */
  async tell(document: object): Promise<void> {
    const why = await this.deliver(document);
    if (why !== undefined) this.#logger.warn(why);
  }

  /**
   * Posts `document`; gives why it was not taken within the timeout, for people. A server that took it and could
   * not say so is asked again: the delivery's ID is then the same. Rejects with the signal's reason alone.
   */
  async deliver(document: object, signal?: AbortSignal): Promise<string | undefined> {
    const id = randomUUID();
    const text = redact(JSON.stringify({ ...document, delivery_id: id }));
    const deadline = AbortSignal.timeout(this.#timeoutMs);
    const either = signal === undefined ? deadline : AbortSignal.any([signal, deadline]);
    let last: unknown;
    try {
      await retry(() => this.#post(id, Buffer.from(text), either), {
        ...patience,
        isPassing,
        onWait: ({ error }) => {
          last = error;
        },
        signal: either,
      });
      return undefined;
    } catch (error) {
      signal?.throwIfAborted();
      return this.#failure(deadline.aborted ? last : error, deadline.aborted);
    }
  }

  async #post(id: string, body: Buffer, signal: AbortSignal): Promise<void> {
    const { status } = await exchange({
      method: "POST",
      url: this.#url,
      body,
      headers: {
        "Content-Type": "application/json",
        "User-Agent": "migratekit",
        "X-Migratekit-Delivery": id,
        ...(this.#secret && { "X-Migratekit-Signature": signatureOf(body, this.#secret) }),
      },
      agent: this.#url.startsWith("https:") ? trustOfSystem() : undefined,
      timeoutMs: this.#timeoutMs,
      answerBytesMax: "none",
      signal,
    });
    if (status < 200 || status > 299) throw new NotTaken(status);
  }

  /** The path may be a password: the server alone is named. */
  #failure(error: unknown, late: boolean): string {
    const what = `--webhook at ${new URL(this.#url).host} did not take the run`;
    const time = `within ${formatDuration(this.#timeoutMs / 1000)} (--webhook-timeout)`;
    if (error === undefined) return `${what}: no answer ${time}`;
    return `${what}${late ? ` ${time}` : ""}: ${oneLine(redact(messageOf(error)))}`;
  }
}

function readSecret(file: string, logger: Logger): Secret {
  const warnings: string[] = [];
  const setting = { flag: "webhook-secret-file", what: "webhook's secret" };
  const secret = readSecretFile(setting, file, warnings);
  for (const warning of warnings) logger.warn(warning);
  addSecret(secret);
  return new Secret(secret);
}

/** As `openssl dgst -sha256 -hmac SECRET` of the body's bytes. */
function signatureOf(body: Buffer, secret: Secret): string {
  return `sha256=${createHmac("sha256", secret.reveal()).update(body).digest("hex")}`;
}

/** Also of authorities that an administrator has added. */
function trustOfSystem(): Agent {
  return new Agent({ keepAlive: false, ca: getCACertificates("system") });
}

/** What another try may mend: not a certificate, not a refusal. */
function isPassing(error: unknown): boolean {
  if (error instanceof NotTaken) return error.status >= 500 || [408, 429].includes(error.status);
  return error instanceof HttpFailure && error.kind !== "untrusted";
}
