/** Every SOAP call with its arguments, secrets left out, so that tests can tell what a client did. */

import { isVimObject, Moref, Typed, type VimObject, type VimValue } from "./vim-values.ts";

export interface LoggedCall {
  /** Counts from 1, over the life of the process. */
  readonly number: number;
  /** ISO 8601. */
  readonly at: string;
  readonly method: string;
  /** `VirtualMachine:vm-101` */
  readonly self: string;
  readonly user: string | undefined;
  /** Plain data; references as `Type:value`. */
  readonly parameters: PlainValue;
  /** `ok`, the fault's type, or what the transport did; filled in when the call ends. */
  outcome: string | undefined;
  durationMs: number | undefined;
}

export type PlainValue =
  | string
  | number
  | boolean
  | undefined
  | PlainValue[]
  | { [name: string]: PlainValue };

/** Methods that change something; a preflight must make none of them. */
const changing = new Set(
  (
    "ReconfigVM_Task CreateSnapshot_Task RemoveSnapshot_Task RemoveAllSnapshots_Task " +
    "RevertToSnapshot_Task ConsolidateVMDisks_Task ShutdownGuest PowerOffVM_Task PowerOnVM_Task " +
    "CancelTask RenameSnapshot"
  ).split(" "),
);
const keptMax = 20_000;

export class CallLog {
  readonly #calls: LoggedCall[] = [];
  #count = 0;

  begin(method: string, self: Moref, user: string | undefined, parameters: VimObject): LoggedCall {
    this.#count += 1;
    const call: LoggedCall = {
      number: this.#count,
      at: new Date().toISOString(),
      method,
      self: self.toString(),
      user,
      parameters: plain(parameters),
      outcome: undefined,
      durationMs: undefined,
    };
    this.#calls.push(call);
    if (this.#calls.length > keptMax) this.#calls.shift();
    return call;
  }

  get calls(): readonly LoggedCall[] {
    return this.#calls;
  }

  /** Names of the methods called, in order. */
  methods(): string[] {
    return this.#calls.map((call) => call.method);
  }

  /** Calls that changed something. */
  changes(): LoggedCall[] {
    return this.#calls.filter((call) => changing.has(call.method));
  }

  clear(): void {
    this.#calls.length = 0;
  }
}

function plain(value: VimValue | undefined): PlainValue {
  if (value instanceof Moref) return value.toString();
  if (value instanceof Typed) return plain(value.value);
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return (value as readonly VimValue[]).map(plain);
  if (!isVimObject(value)) return value as PlainValue;
  const entries = Object.entries(value)
    .filter(([name]) => name !== "$type")
    .map(([name, item]) => [name, name === "password" ? "***" : plain(item)] as const);
  return Object.fromEntries(entries);
}
