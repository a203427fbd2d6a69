/** Every call with its parameters, keys and signatures left out, so that a test can tell what a client did. */

export interface CloudStackCall {
  /** Counts from 1, over the life of the server. */
  readonly number: number;
  readonly method: string;
  readonly command: string;
  readonly account: string | undefined;
  /** Signature's version, `3` where it expires. */
  readonly signatureVersion: string | undefined;
  readonly parameters: Readonly<Record<string, string>>;
  /** HTTP status, or what was done to the connection; filled in when the call ends. */
  outcome: number | string | undefined;
}

const left = new Set(["apikey", "signature", "command", "response", "signatureversion", "expires"]);
const keptMax = 20_000;

export class CloudStackCallLog {
  readonly #calls: CloudStackCall[] = [];
  #count = 0;

  begin(method: string, given: ReadonlyMap<string, string>, account: string | undefined) {
    const find = (wanted: string) =>
      [...given].find(([name]) => name.toLowerCase() === wanted)?.[1];
    this.#count++;
    const call: CloudStackCall = {
      number: this.#count,
      method,
      command: find("command") ?? "",
      account,
      signatureVersion: find("signatureversion"),
      parameters: Object.fromEntries([...given].filter(([name]) => !left.has(name.toLowerCase()))),
      outcome: undefined,
    };
    this.#calls.push(call);
    if (this.#calls.length > keptMax) this.#calls.shift();
    return call;
  }

  get calls(): readonly CloudStackCall[] {
    return this.#calls;
  }

  get count(): number {
    return this.#count;
  }

  commands(): string[] {
    return this.#calls.map(({ command }) => command);
  }

  /** Calls of commands that change something. */
  changes(): CloudStackCall[] {
    return this.#calls.filter(({ command }) => !/^(list|query|get)/i.test(command));
  }

  clear(): void {
    this.#calls.length = 0;
  }
}
