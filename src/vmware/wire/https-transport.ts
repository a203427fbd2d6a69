/**
 * One POST, one answer, over trusted keep-alive connections. Written on node:https because the rules are
 * strict: no redirect is followed, the answer's size and time are bounded, and no error object holds a request.
 */

import { Agent, type AgentOptions, request } from "node:https";
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import { connect, type TLSSocket } from "node:tls";
import { MigratekitError, messageOf } from "../../errors.ts";
import { hostAndPort, oneLine } from "../../text.ts";
import type { TrustPolicy } from "./certificate.ts";
import { EndpointError, type EndpointFailure } from "./faults.ts";
import { protocolError } from "./values.ts";

export interface TransportOptions {
  readonly host: string;
  readonly port: number;
  readonly policy: TrustPolicy;
  /** Bound of one exchange, connecting included. */
  readonly requestTimeoutMs: number;
  readonly answerBytesMax?: number;
}

export interface SoapAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

export class HttpsTransport {
  readonly endpoint: string;
  readonly #options: TransportOptions;
  readonly #agent: TrustedAgent;
  /** The session cookie; it is a credential and goes nowhere but into the request header. */
  #cookie: string | undefined;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.endpoint = hostAndPort(options.host, options.port);
    this.#agent = new TrustedAgent(options, { keepAlive: true, maxSockets: 8 });
  }

  /** Rejects with `EndpointError`, `MigratekitError` or the signal's reason, never with anything else. */
  async post(body: string, headers: Readonly<Record<string, string>>, signal?: AbortSignal) {
    signal?.throwIfAborted();
    const timeout = AbortSignal.timeout(this.#options.requestTimeoutMs);
    const either = signal ? AbortSignal.any([signal, timeout]) : timeout;
    try {
      return await this.#exchange(body, headers, either);
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (timeout.aborted)
        throw new EndpointError(
          "timeout",
          `${this.endpoint} did not answer within ${this.#options.requestTimeoutMs / 1000} s`,
        );
      throw failureOf(error, this.endpoint);
    }
  }

  /** Forgets the session and closes every connection. */
  close(): void {
    this.#cookie = undefined;
    this.#agent.destroy();
  }

  #exchange(body: string, headers: Readonly<Record<string, string>>, signal: AbortSignal) {
    const { promise, resolve, reject } = Promise.withResolvers<SoapAnswer>();
    const options = {
      agent: this.#agent,
      host: this.#options.host,
      port: this.#options.port,
      method: "POST",
      path: "/sdk",
      headers: {
        ...headers,
        "Accept-Encoding": "identity",
        "Content-Length": Buffer.byteLength(body),
        ...(this.#cookie ? { Cookie: this.#cookie } : {}),
      },
      signal,
      // Node keeps `signal` from the agent; a connection being made has to end with it all the same.
      connectSignal: signal,
    };
    const call = request(options);
    call.on("error", reject);
    call.on("response", (response) => {
      const bytesMax = this.#options.answerBytesMax ?? 16 * 1024 * 1024;
      const parts: Buffer[] = [];
      let bytes = 0;
      response.on("error", reject);
      response.on("aborted", () => reject(new Error("the connection was lost within an answer")));
      response.on("data", (part: Buffer) => {
        bytes += part.length;
        if (bytes <= bytesMax) parts.push(part);
        else {
          reject(protocolError(`${this.endpoint} sent an answer of more than ${bytesMax} bytes`));
          call.destroy();
        }
      });
      response.on("end", () => {
        this.#rememberCookie(response.headers["set-cookie"]);
        const contentType = response.headers["content-type"] ?? "";
        try {
          const text = new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(parts));
          resolve({ status: response.statusCode ?? 0, contentType, body: text });
        } catch {
          reject(protocolError(`${this.endpoint} sent an answer that is not UTF-8 text`));
        }
      });
    });
    call.end(body);
    return promise;
  }

  #rememberCookie(cookies: string[] | undefined): void {
    const session = cookies?.find((cookie) => cookie.startsWith("vmware_soap_session="));
    if (session) this.#cookie = session.split(";", 1)[0];
  }
}

/** Hands a connection to HTTP only after the policy has accepted its certificate. */
class TrustedAgent extends Agent {
  readonly #options: TransportOptions;

  constructor(options: TransportOptions, agentOptions: AgentOptions) {
    super(agentOptions);
    this.#options = options;
  }

  override createConnection(
    options: unknown,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    const signal = Reflect.get(Object(options), "connectSignal") as AbortSignal;
    connectTrusted(this.#options, signal).then(
      (socket) => callback?.(null, socket),
      // Node's type wants a stream beside the error, and nothing looks at it.
      (error: Error) => callback?.(error, undefined as unknown as Duplex),
    );
  }
}

/** A TLS connection whose peer the policy accepts. Rejects, with the socket destroyed, on anything else. */
function connectTrusted(options: TransportOptions, signal: AbortSignal): Promise<TLSSocket> {
  const { host, port, policy, requestTimeoutMs } = options;
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
  const socket = connect({
    host,
    port,
    ...(isIP(host) ? {} : { servername: host }),
    secureContext: policy.secureContext,
    // The policy decides, after the handshake; OpenSSL's own verdict is one of its inputs.
    rejectUnauthorized: false,
    ALPNProtocols: ["http/1.1"],
  });
  const timeoutMs = Math.min(requestTimeoutMs, connectTimeoutMsMax);
  const giveUp = () => reject(new EndpointError("lost", "the attempt was given up"));
  const timer = setTimeout(
    () => reject(new EndpointError("timeout", `no connection within ${timeoutMs / 1000} s`)),
    timeoutMs,
  );
  signal.addEventListener("abort", giveUp, { once: true });
  socket.once("error", reject);
  socket.once("secureConnect", () => {
    try {
      policy.judge(socket);
      resolve(socket.setKeepAlive(true, 30_000).setNoDelay(true));
    } catch (error) {
      reject(error);
    }
  });
  promise
    .catch(() => socket.on("error", () => {}).destroy())
    .finally(() => {
      clearTimeout(timer);
      signal.removeEventListener("abort", giveUp);
      socket.off("error", reject);
    });
  return promise;
}

const connectTimeoutMsMax = 20_000;

const failures: Readonly<Record<string, readonly [EndpointFailure, string]>> = {
  ECONNREFUSED: ["refused", "the connection was refused"],
  ENOTFOUND: ["unresolved", "the host name was not found"],
  EAI_AGAIN: ["unresolved", "the host name could not be resolved now"],
  ENODATA: ["unresolved", "the host name was not found"],
  EHOSTUNREACH: ["unroutable", "there is no route to the host"],
  ENETUNREACH: ["unroutable", "there is no route to the network"],
  ETIMEDOUT: ["timeout", "the connection attempt timed out"],
};

function failureOf(error: unknown, endpoint: string): Error {
  if (error instanceof MigratekitError) return error;
  if (error instanceof EndpointError)
    return new EndpointError(error.failure, `${endpoint}: ${error.message}`);
  const code = codeOf(error);
  const known = failures[code];
  if (known) return new EndpointError(known[0], `${endpoint}: ${known[1]}`);
  // HPE_*: the HTTP parser's verdict. ERR_SSL_*, EPROTO: what answers there does not speak TLS.
  if (code.startsWith("HPE_"))
    return protocolError(`${endpoint} does not answer with HTTP: ${oneLine(messageOf(error))}`);
  if (code.startsWith("ERR_SSL") || code === "EPROTO")
    return protocolError(`${endpoint} does not complete a TLS handshake (${oneLine(code)})`);
  return new EndpointError("lost", `${endpoint}: the connection was lost`);
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string"
    ? error.code
    : "";
}
