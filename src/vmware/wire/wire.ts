/**
 * What vim25 is spoken over. From above it is a session: logged in, it survives what a long run meets (it
 * expires, the vCenter restarts, connections break). Below it a channel for SOAP, HTTPS and the trust in it.
 * Reads are repeated until an outage has lasted too long; anything that changes something is sent once, and
 * tasks.ts finds out what became of it.
 */

import type { Logger } from "pino";
import { MigratekitError, messageOf } from "../../errors.ts";
import { retry } from "../../retry.ts";
import { asMigratekitError, EndpointError, isGarbled, isVimFault, VimFault } from "./faults.ts";
import type { Patience } from "./patience.ts";
import { readServiceContent, type ServiceContent, versionToSpeak } from "./service-content.ts";
import { type Arguments, argumentReference, type SoapChannel } from "./soap-channel.ts";
import { object, text } from "./values.ts";

export interface SessionOptions {
  readonly username: string;
  readonly password: string;
  readonly logger: Logger;
  readonly signal?: AbortSignal | undefined;
  /** Interval of the call that keeps the session from expiring; 0 sends none. */
  readonly keepAliveMs: number;
  /** How long reads are repeated while the endpoint does not answer. */
  readonly outageMs: number;
  readonly patience: Patience;
}

export class Session {
  readonly endpoint: string;
  readonly content: ServiceContent;
  readonly logger: Logger;
  /** For whatever may meet a fault that passes by itself; `read` has it already. */
  readonly patience: Patience;
  readonly #channel: SoapChannel;
  readonly #credentials: { readonly username: string; readonly password: string };
  readonly #outageMs: number;
  readonly #keepAlive: NodeJS.Timeout | undefined;
  #key = "";
  #login: Promise<void> | undefined;
  /** Counts the successful logins, and so names the session that a call was made in. */
  #logins = 0;
  #closed = false;

  private constructor(channel: SoapChannel, content: ServiceContent, options: SessionOptions) {
    this.endpoint = channel.endpoint;
    this.content = content;
    this.logger = options.logger;
    this.#channel = channel;
    this.#credentials = { username: options.username, password: options.password };
    this.#outageMs = options.outageMs;
    this.patience = options.patience;
    if (options.keepAliveMs > 0)
      this.#keepAlive = setInterval(() => this.#stayAlive(), options.keepAliveMs).unref();
  }

  /** Logs in. Nothing is repeated here: whoever starts a run wants to hear at once that it cannot work. */
  static async open(channel: SoapChannel, options: SessionOptions): Promise<Session> {
    const service = { _this: argumentReference("ServiceInstance", "ServiceInstance") };
    const { signal } = options;
    const answer = await channel.call("RetrieveServiceContent", service, signal);
    const content = readServiceContent(object(answer, "returnval"));
    channel.useVersion(versionToSpeak(content.about.apiVersion));
    const session = new Session(channel, content, options);
    try {
      await session.#logIn(signal);
      return session;
    } catch (error) {
      clearInterval(session.#keepAlive);
      throw error;
    }
  }

  /** Key of the current login, by which the authorization manager knows it. */
  get key(): string {
    return this.#key;
  }

  /**
   * A call that changes nothing: repeated after an outage and after faults that pass, once after a new login, and
   * twice after an answer that made no sense. `inspect` may find in an answer a fault that the call itself did
   * not raise.
   */
  async read(
    operation: string,
    args: Arguments,
    signal?: AbortSignal,
    inspect?: (answer: unknown) => void,
  ): Promise<unknown> {
    const read = () => this.#readThroughOutage(operation, args, signal, inspect);
    return await this.patience.outlast(read, { mayPass: () => true, signal });
  }

  async #readThroughOutage(
    operation: string,
    args: Arguments,
    signal?: AbortSignal,
    inspect?: (answer: unknown) => void,
  ): Promise<unknown> {
    let waited = false;
    const answer = await retry(() => this.#readPatiently(operation, args, signal, inspect), {
      limitMs: this.#outageMs,
      firstPauseMs: 250,
      pauseMsMax: 10_000,
      isPassing: (error) => error instanceof EndpointError && !this.#closed,
      onWait: ({ error, attempt }) => {
        waited = true;
        if (attempt > 1) return;
        this.logger.warn(`vSphere does not answer; trying again for a while: ${messageOf(error)}`);
      },
      signal,
    });
    if (waited) this.logger.info("vSphere answers again");
    return answer;
  }

  /** An answer that makes no sense is asked for twice more. */
  async #readPatiently(
    operation: string,
    args: Arguments,
    signal?: AbortSignal,
    inspect?: (answer: unknown) => void,
  ): Promise<unknown> {
    return await retry(
      () =>
        this.#loggedIn(async () => {
          const answer = await this.#channel.call(operation, args, signal);
          inspect?.(answer);
          return answer;
        }, signal),
      {
        attemptsMax: 3,
        firstPauseMs: 100,
        pauseMsMax: 200,
        isPassing: isGarbled,
        onWait: ({ error }) => this.logger.warn(`${operation} is sent again: ${messageOf(error)}`),
        signal,
      },
    );
  }

  /** Makes the call once more, in a new session, where the old one was lost. */
  async #loggedIn<T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const login = this.#logins;
    try {
      return await call();
    } catch (error) {
      if (!isVimFault(error, "NotAuthenticated") || this.#closed) throw error;
      await this.#logInAgain(login, signal);
      return await call();
    }
  }

  /** A call that changes something: sent once. */
  async send(operation: string, args: Arguments, signal?: AbortSignal): Promise<unknown> {
    return await this.#channel.call(operation, args, signal);
  }

  /** Resolves when the endpoint answers and the session is valid again. */
  async reachable(signal?: AbortSignal): Promise<void> {
    await this.read("CurrentTime", serviceInstance, signal);
  }

  /** Logs out as far as that is still possible. Does not reject. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#keepAlive);
    const { type, moref } = this.content.sessionManager;
    try {
      const patience = AbortSignal.timeout(5_000);
      await this.#channel.call("Logout", { _this: argumentReference(type, moref) }, patience);
    } catch (error) {
      this.logger.debug({ error: String(error) }, "Logging out of vSphere failed");
    }
  }

  /**
   * One login for all who notice the loss at the same time. Whoever notices it late, of a session that has been
   * replaced since (`login`), needs none: vCenter refuses a login within a session.
   */
  async #logInAgain(login: number, signal?: AbortSignal): Promise<void> {
    if (login !== this.#logins) return;
    if (!this.#login) {
      this.logger.warn(
        { endpoint: this.endpoint },
        "The vSphere session was lost; logging in again",
      );
      this.#login = this.#logIn(signal).finally(() => {
        this.#login = undefined;
      });
    }
    await this.#login;
  }

  async #logIn(signal?: AbortSignal): Promise<void> {
    const { type, moref } = this.content.sessionManager;
    const { username, password } = this.#credentials;
    const args = { _this: argumentReference(type, moref), userName: username, password };
    try {
      const answer = await this.#channel.call("Login", args, signal);
      this.#key = text(object(answer, "returnval"), "key");
      this.#logins += 1;
    } catch (error) {
      throw loginError(error, this.endpoint, username, password);
    }
  }

  #stayAlive(): void {
    this.#readThroughOutage("CurrentTime", serviceInstance).catch((error) => {
      this.logger.debug({ error: String(error) }, "The call that keeps the session alive failed");
    });
  }
}

const serviceInstance = { _this: argumentReference("ServiceInstance", "ServiceInstance") };

/** A server may echo what it was sent; the password is taken out before the text goes anywhere. */
function loginError(error: unknown, endpoint: string, username: string, password: string): unknown {
  if (!(error instanceof VimFault)) return error;
  const refused = ["InvalidLogin", "PasswordExpired", "InvalidLocale", "LoginFault"];
  if (refused.includes(error.fault))
    return new MigratekitError(
      "vsphere-login",
      `${endpoint} refused the login of ${username}: ${error.fault}`,
      { context: { endpoint, fault: error.fault } },
    );
  const text = password === "" ? error.message : error.message.replaceAll(password, "***");
  return asMigratekitError(new VimFault(error.fault, text), `log in to ${endpoint} as ${username}`);
}
