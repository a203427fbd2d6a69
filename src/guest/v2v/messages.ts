/** What virt-v2v says, with --machine-readable: one JSON object a line ("ADVANCED MACHINE READABLE OUTPUT"). */
import type { Logger } from "pino";
import { oneLine } from "../../text.ts";

export interface V2vMessage {
  readonly type: "message" | "info" | "warning" | "error";
  readonly text: string;
}

const messagesMax = 200;
const textCharsMax = 600;
const types = ["message", "info", "warning", "error"] as const;

/** Bounded; everything else that is said goes to the log alone. */
export class MessageCollector {
  readonly #logger: Logger;
  readonly #messages: V2vMessage[] = [];

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  get messages(): readonly V2vMessage[] {
    return this.#messages;
  }

  /** A line of its standard output. */
  take(line: string): void {
    const message = parseMessage(line);
    if (message === undefined) {
      this.takeDebug(line);
      return;
    }
    if (this.#messages.length < messagesMax) this.#messages.push(message);
    const { type, text } = message;
    this.#logger[type === "message" ? "info" : "debug"]({ virtV2v: type }, text);
  }

  /** A line of its standard error: its whole log where that was asked for. */
  takeDebug(line: string): void {
    if (line.trim() !== "") this.#logger.debug({ virtV2v: "log" }, oneLine(line, 2_000));
  }
}

export function parseMessage(line: string): V2vMessage | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { type, message } = value as Record<string, unknown>;
  const known = types.find((name) => name === type);
  if (known === undefined || typeof message !== "string") return undefined;
  return { type: known, text: oneLine(message, textCharsMax) };
}
