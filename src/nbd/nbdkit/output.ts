/** What an nbdkit process prints: logged line by line, scrubbed of secrets, searched for causes. */
import type { Readable } from "node:stream";
import type { Logger } from "pino";
import { MigratekitError } from "../../errors.ts";
import {
  type Cause,
  nfcHostOf,
  parseLine,
  recogniseCause,
  tellsOfFailedRead,
  transportOfOpenDisk,
} from "./causes.ts";

export interface NbdkitOutputOptions {
  readonly logger: Logger;
  /** Texts that may appear nowhere. */
  readonly secrets: readonly string[];
  /** For messages: "[datastore] dir/disk.vmdk". */
  readonly diskPath: string;
  /** nbdssl was asked for: that VDDK took plain nbd in its place is worth a warning. */
  readonly wantsEncryption?: boolean;
}

const lineCharsMax = 4 * 1024;
const controls = /\p{Cc}/gu;

/**
 * Bounded: keeps one cause for each of the last connections, that of the last read that failed, and
 * one last line, never the output.
 */
export class NbdkitOutput {
  readonly #options: NbdkitOutputOptions;
  readonly #forms: readonly string[];
  /** Of a line before it is scrubbed: one that is longer is cut, maybe through a secret. */
  readonly #rawCharsMax: number;
  /** Why disks did not open, by connection; a disk that opens makes all of it good. */
  readonly #opening = new Map<number, Cause>();
  /** Why a read failed, of the last one that did. A disk that opens says nothing about reads. */
  #reading: Cause | undefined;
  #inTheClear = false;
  #nfcHost: string | undefined;
  #lastError: string | undefined;
  #lastLine: string | undefined;

  constructor(options: NbdkitOutputOptions) {
    this.#options = options;
    this.#forms = secretForms(options.secrets);
    this.#rawCharsMax = lineCharsMax + (this.#forms[0]?.length ?? 0);
  }

  /** Reads `stream` to its end. A line past 4 Ki characters is cut. */
  follow(stream: Readable): void {
    const lengthMax = this.#rawCharsMax;
    let partial = "";
    stream.setEncoding("utf8");
    stream.on("data", (chunk: string) => {
      const lines = chunk.split("\n");
      const last = lines.pop() ?? "";
      for (const line of lines) {
        this.take((partial + line).slice(0, lengthMax));
        partial = "";
      }
      partial = (partial + last).slice(0, lengthMax);
    });
    stream.on("end", () => partial && this.take(partial));
    // A child that dies may reset its pipe; its exit is reported elsewhere.
    stream.on("error", () => {});
  }

  /** One line, without its end. */
  take(rawLine: string): void {
    const line = this.#scrub(rawLine);
    if (line.trim() === "") return;
    this.#options.logger.debug(line);
    const parsed = parseLine(line);
    this.#nfcHost = nfcHostOf(parsed.text) ?? this.#nfcHost;
    if (parsed.level !== "debug") this.#lastLine = parsed.text;
    if (parsed.level === "error") this.#lastError = parsed.text;
    // VDDK tries its transports, and the engine its connections, until one works.
    const transport = transportOfOpenDisk(parsed);
    if (transport !== undefined) this.#noteOpenDisk(transport);
    const cause = recogniseCause(line, parsed);
    if (!cause) return;
    const { connection } = parsed;
    // Before a read fails, VDDK may have said why: "Failed to allocate the requested … bytes".
    if (tellsOfFailedRead(parsed)) this.#reading = nearest(cause, this.#opening.get(connection));
    else this.#remember(connection, nearest(cause, this.#opening.get(connection)));
  }

  /** Why the disk does not open: nearest to the root of what was not made good since. */
  rootCause(): MigratekitError | undefined {
    const [first, ...others] = this.#opening.values();
    return first && this.#errorOf(others.reduce(nearest, first));
  }

  /** Why a read was answered with an error, of the last one that was. */
  readFailure(): MigratekitError | undefined {
    return this.#reading && this.#errorOf(this.#reading);
  }

  #errorOf(root: Cause): MigratekitError {
    const { diskPath } = this.#options;
    const host = root.host ?? this.#nfcHost;
    const where = root.code === "source-unreachable" && !root.host && host ? ` (${host})` : "";
    return new MigratekitError(root.code, `${diskPath}: ${root.message}${where}`, {
      ...(root.remedy === undefined ? {} : { remedy: root.remedy }),
      context: { diskPath, host, line: root.line },
    });
  }

  /** The last error that nbdkit printed, else the last line that is no debug line. */
  lastWords(): string | undefined {
    return this.#lastError ?? this.#lastLine;
  }

  #noteOpenDisk(transport: string): void {
    this.#opening.clear();
    if (transport !== "nbd" || this.#inTheClear || !this.#options.wantsEncryption) return;
    this.#inTheClear = true;
    this.#options.logger.warn(
      "the host does not offer nbdssl, so the disk's data comes from it unencrypted (nbd); " +
        "--vddk-transports nbdssl refuses that",
    );
  }

  #remember(connection: number, cause: Cause): void {
    this.#opening.delete(connection);
    this.#opening.set(connection, cause);
    const oldest = this.#opening.keys().next().value;
    if (this.#opening.size > 64 && oldest !== undefined) this.#opening.delete(oldest);
  }

  #scrub(line: string): string {
    let clean = line;
    for (const form of this.#forms) clean = clean.replaceAll(form, "[secret]");
    // Nothing that a peer sent may move the cursor of a terminal.
    clean = clean.replaceAll(controls, "\ufffd");
    if (line.length < this.#rawCharsMax) return clean;
    // The line was cut: half a secret may stand at its end.
    return clean.slice(0, Math.max(0, clean.length - (this.#forms[0]?.length ?? 0)));
  }
}

/** Of two causes the one nearer to the root; of two alike the first, which is the newer one. */
function nearest(cause: Cause, other: Cause | undefined): Cause {
  return other && other.rank < cause.rank ? other : cause;
}

/** A secret as it is and as XML, JSON, URLs and base64 write it; the longest first. */
function secretForms(secrets: readonly string[]): string[] {
  const forms = secrets.filter(Boolean).flatMap((secret) => {
    const inXml = secret.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
    const inJson = JSON.stringify(secret).slice(1, -1);
    const inUrl = secret.isWellFormed() ? encodeURIComponent(secret) : secret;
    return [secret, inXml, inJson, inUrl, Buffer.from(secret).toString("base64")];
  });
  return [...new Set(forms)].sort((a, b) => b.length - a.length);
}
