/** The logger: pino to stderr, readable on a terminal, JSON elsewhere, with secrets cut out last. */
import { type DestinationStream, destination, type Level, type Logger, pino } from "pino";
import { prettyFactory } from "pino-pretty";

export interface LoggerOptions {
  readonly level: Level | "silent";
  /** One readable line per message instead of JSON. */
  readonly pretty: boolean;
  /** Only with `pretty`. */
  readonly colour?: boolean;
  /** Where finished lines go, newline included; absent: stderr, synchronously. */
  readonly destination?: DestinationStream;
}

/** Shorter values are not cut out: they would turn up in half of all words. */
const secretLengthMin = 4;
const replacement = "[secret]";
const secretForms = new Set<string>();

/**
 * Makes sure that `value` shows up in no log line from now on, whatever object, message or stack it
 * hides in. A last line of defence: code must not hand secrets to a logger in the first place.
 */
export function addSecret(value: string): void {
  if (value.length < secretLengthMin) return;
  const inJson = JSON.stringify(value).slice(1, -1);
  const inXml = value
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
  const base64 = Buffer.from(value).toString("base64");
  for (const form of [value, inJson, inXml, inXml.replaceAll("&quot;", '"'), base64]) {
    secretForms.add(form);
  }
  if (value.isWellFormed()) secretForms.add(encodeURIComponent(value));
}

/** `text` without any value given to `addSecret`, in its plain, JSON, XML, URL and base64 forms. */
export function redact(text: string): string {
  let clean = text;
  for (const form of longestFirst()) clean = clean.replaceAll(form, replacement);
  return clean;
}

/**
 * A logger that writes whole lines, each without the values given to `addSecret`. Never throws for
 * a reader that went away.
 */
export function createLogger(options: LoggerOptions): Logger {
  const sink = options.destination ?? stderrSink();
  return pino(
    {
      level: options.level,
      base: null,
      // pino would print only `err` as an error; `error` is what people write.
      serializers: {
        error: pino.stdSerializers.errWithCause,
        err: pino.stdSerializers.errWithCause,
      },
      hooks: { streamWrite: redactLine },
    },
    options.pretty ? prettySink(sink, options.colour ?? false) : sink,
  );
}

/** A log line whose strings were cleaned one by one, so that it stays valid JSON. */
function redactLine(line: string): string {
  if (!mayHoldSecret(line)) return line;
  return `${JSON.stringify(redactValue(JSON.parse(line)))}\n`;
}

function mayHoldSecret(line: string): boolean {
  for (const form of secretForms) {
    if (line.includes(form) || line.includes(JSON.stringify(form).slice(1, -1))) return true;
  }
  return false;
}

function redactValue(value: unknown): unknown {
  if (typeof value === "string") return redact(value);
  if (Array.isArray(value)) return value.map(redactValue);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, field]) => [redact(key), redactValue(field)]),
  );
}

/** A form may be part of another one; the longer one has to go first. */
function longestFirst(): string[] {
  return [...secretForms].sort((a, b) => b.length - a.length);
}

/**
 * Formats in this process: pino-pretty as a transport needs a worker thread and files of its own,
 * which a program bundled into one file does not have. Times are UTC, as in the history.
 */
function prettySink(sink: DestinationStream, colour: boolean): DestinationStream {
  const format = prettyFactory({
    colorize: colour,
    colorizeObjects: false,
    translateTime: "UTC:HH:MM:ss'Z'",
    singleLine: true,
    errorLikeObjectKeys: ["err", "error"],
  });
  return {
    write(line) {
      sink.write(format(inWords(JSON.parse(line, (_, value) => printable(value)))));
    },
  };
}

/** Names come from peers: none may move the cursor or ring the bell. Line breaks stay, for stack traces. */
function printable(value: unknown): unknown {
  return typeof value === "string" ? withoutControls(value) : value;
}

/** `text` fit for a terminal. */
export function withoutControls(text: string): string {
  return text.replaceAll(/(?!\n)\p{Cc}/gu, "\ufffd");
}

const debugLevel = 20;

/**
 * For people: a line is its message, which begins with its VM. Texts that the message lacks follow
 * it; numbers are for machines, and for who looks for a fault.
 */
function inWords(record: Record<string, unknown>): Record<string, unknown> {
  const { level, time, msg: said = "", vm, runId, ...rest } = record;
  const fields = Object.fromEntries(
    Object.entries(rest).map(([name, value]) => [name, asWords(value)]),
  );
  const message = String(said);
  const begun = typeof vm === "string" && !message.includes(vm) ? `${vm}: ${message}` : message;
  const whole = Object.entries(fields).filter(([, value]) => typeof value === "object");
  const more = Object.entries(fields).filter(([, value]) => {
    const shown = typeof value === "string" || Number(level) <= debugLevel;
    return shown && typeof value !== "object" && value !== "" && !begun.includes(`${value}`);
  });
  const added = more.map(([name, value]) => `${name} ${value}`).join(", ");
  const msg = added === "" ? begun : `${begun} (${added})`;
  return { level, time, ...Object.fromEntries(whole), msg };
}

/** A list of texts or numbers as one text. */
function asWords(value: unknown): unknown {
  const isList = Array.isArray(value) && value.every((each) => typeof each !== "object");
  return isList ? value.join(", ") : value;
}

function stderrSink(): DestinationStream {
  const stream = destination({ dest: 2, sync: true });
  // A reader that went away (`2>&1 | head`) must not end a migration.
  stream.on("error", () => {});
  return stream;
}
