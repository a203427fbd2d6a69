/**
 * vim25 calls through node-soap. node-soap writes the envelopes and parses the answers by the WSDL; this
 * module carries them, and lets through only what is an answer to the operation asked or a typed fault.
 */

import soap, { type Client } from "soap";
import { readAsset } from "../../assets.ts";
import { MigratekitError, messageOf } from "../../errors.ts";
import { oneLine } from "../../text.ts";
import { EndpointError, faultOfEnvelope, type VimFault } from "./faults.ts";
import type { HttpsTransport, SoapAnswer } from "./https-transport.ts";
import { protocolError } from "./values.ts";
import { outlineOf } from "./xml-guard.ts";

/** Arguments by name. `reference()` makes `_this`; fields of derived types go out in the order written. */
export type Arguments = Readonly<Record<string, unknown>>;

/** A managed object reference as an argument. */
export function argumentReference(type: string, moref: string) {
  return { attributes: { type }, $value: moref } as const;
}

/** Numbers, flags and times stay text until values.ts has checked them. */
const asText = (text: string) => text;
const deserializers = {
  int: asText,
  long: asText,
  short: asText,
  integer: asText,
  boolean: asText,
  dateTime: asText,
};

export class SoapChannel {
  readonly endpoint: string;
  readonly #transport: HttpsTransport;
  readonly #client: Client;

  private constructor(transport: HttpsTransport, client: Client) {
    this.endpoint = transport.endpoint;
    this.#transport = transport;
    this.#client = client;
  }

  static async open(transport: HttpsTransport): Promise<SoapChannel> {
    const client = await soap.createClientAsync(readAsset("vmware/wire/vim.wsdl"), {
      disableCache: true,
      endpoint: `https://${transport.endpoint}/sdk`,
      preserveWhitespace: true,
      customDeserializer: deserializers,
      // Our own transport: node-soap's would follow redirects, dump requests under DEBUG, and keep
      // whole requests in its errors.
      httpClient: { request: (_url, xml, done, headers, call) => carry(xml, done, headers, call) },
    });
    return new SoapChannel(transport, client);
  }

  /** Sets the API version that the endpoint is asked to speak, such as `6.7`. */
  useVersion(version: string): void {
    this.#client.setSOAPAction(`urn:vim25/${version}`);
  }

  /**
   * The content of the operation's response element (`{}` when it has none). Rejects with `VimFault`,
   * `EndpointError`, `MigratekitError` (certificate, protocol) or the signal's reason.
   */
  async call(operation: string, args: Arguments, signal?: AbortSignal): Promise<unknown> {
    const method: unknown = Reflect.get(this.#client, operation);
    if (typeof method !== "function") throw new Error(`vim.wsdl lacks the operation ${operation}`);
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const carrier: Carrier = {
      post: async (xml, headers) => {
        const answer = await this.#transport.post(xml, headers, signal);
        return checkAnswer(answer, operation, this.endpoint);
      },
      reject,
    };
    const done = (error: unknown, content: unknown) =>
      error ? reject(errorOf(error, this.endpoint)) : resolve(content ?? {});
    Reflect.apply(method, this.#client, [args, done, { carrier }]);
    this.#forget();
    return promise.finally(() => this.#forget());
  }

  /** node-soap keeps the last envelopes, the Login one included; nobody needs them. */
  #forget(): void {
    this.#client.lastRequest = undefined;
    this.#client.lastMessage = undefined;
    this.#client.lastResponse = undefined;
    this.#client.lastRequestHeaders = undefined;
    this.#client.lastResponseHeaders = undefined;
  }
}

/** Travels through node-soap's per-call options, so that each exchange finds its own signal and promise. */
interface Carrier {
  post(xml: string, headers: Record<string, string>): Promise<SoapAnswer>;
  reject(error: unknown): void;
}

function carry(
  xml: string,
  done: (error: unknown, response?: unknown, body?: unknown) => void,
  headers: Record<string, string> | undefined,
  call: { carrier?: Carrier } | undefined,
): never {
  const carrier = call?.carrier;
  if (!carrier) throw new Error("a call bypassed the SOAP channel");
  carrier
    .post(xml, headers ?? {})
    .then(
      (answer) => done(null, { status: answer.status, headers: {} }, answer.body),
      (error) => {
        carrier.reject(error);
        done(error);
      },
    )
    // node-soap parses inside `done`; whatever it throws there would otherwise be nobody's.
    .catch((error) => carrier.reject(errorOf(error, "the endpoint")));
  // node-soap ignores the value; its type wants an axios promise, which we do not have.
  return undefined as never;
}

function checkAnswer(answer: SoapAnswer, operation: string, endpoint: string): SoapAnswer {
  const { status } = answer;
  if (status === 502 || status === 503 || status === 504)
    throw new EndpointError("unavailable", `${endpoint} says it is not ready (HTTP ${status})`);
  if (status >= 300 && status < 400)
    throw protocolError(`${endpoint} redirects elsewhere (HTTP ${status}), which is not followed`);
  if (status !== 200 && status !== 500)
    throw protocolError(`${endpoint} answered ${operation} with HTTP ${status}`);
  if (answer.body.trim() === "")
    throw protocolError(`${endpoint} answered ${operation} with nothing (HTTP ${status})`);
  if (/^\s*<(!doctype html|html)/i.test(answer.body))
    throw protocolError(`${endpoint} answered ${operation} with a web page (HTTP ${status})`);
  const { root, content } = outlineOf(answer.body);
  if (root !== "Envelope" || (content !== "Fault" && content !== `${operation}Response`))
    throw protocolError(
      `${endpoint} answered ${operation} with <${oneLine(content ?? root, 60)}> instead of <${operation}Response>`,
    );
  return answer;
}

/** node-soap rejects with faults, with its parser's bare objects, and with anything its code trips over. */
function errorOf(error: unknown, endpoint: string): VimFault | MigratekitError {
  if (error instanceof MigratekitError) return error;
  if (typeof error === "object" && error !== null && "root" in error)
    return faultOfEnvelope(error.root);
  const text = error instanceof Error ? messageOf(error) : "its XML could not be parsed";
  return protocolError(`${endpoint} sent an answer that cannot be read: ${oneLine(text, 120)}`);
}
