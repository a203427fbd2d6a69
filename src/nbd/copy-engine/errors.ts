import { getSystemErrorName } from "node:util";
import type { NativeFailure } from "./native-types.ts";

/** Every way in which the engine gives up; named the same in native/. */
export const engineErrorCodes = [
  "ENGINE_CONNECT", // no connection to the server
  "ENGINE_REFUSED", // the server answered, but refused the export or the handshake
  "ENGINE_TIMEOUT", // no answer in time while connecting
  "ENGINE_SIZE", // an export is smaller than the disk
  "ENGINE_READ_ONLY", // the target does not allow writing
  "ENGINE_READ", // a range could not be read
  "ENGINE_WRITE", // a range could not be written or zeroed
  "ENGINE_FLUSH", // the target could not make its writes durable
  "ENGINE_LOST", // connections went on breaking
  "ENGINE_CLOSED", // the Engine was disposed of before
] as const;

export type EngineErrorCode = (typeof engineErrorCodes)[number];
export type Side = "source" | "target";

/** The engine's only error: what failed, on which side, where, with libnbd's own text. */
export class NbdError extends Error {
  override readonly name = "NbdError";
  readonly code: EngineErrorCode;
  readonly side: Side;
  /** "ECONNREFUSED", "EIO" … where the system or the server named one. */
  readonly errno: string | undefined;
  /** The disk range in bytes, where one range is to blame. */
  readonly offset: number | undefined;
  readonly length: number | undefined;
  /** How often it was tried before giving up; 1 when trying again could not help. */
  readonly attempts: number;

  constructor(
    code: EngineErrorCode,
    message: string,
    facts: {
      side: Side;
      errno?: string | undefined;
      offset?: number | undefined;
      length?: number | undefined;
      attempts?: number;
    },
  ) {
    super(message);
    this.code = code;
    this.side = facts.side;
    this.errno = facts.errno;
    this.offset = facts.offset;
    this.length = facts.length;
    this.attempts = facts.attempts ?? 1;
  }
}

/** A native failure as the error that callers get; `side` where native cannot know its own. */
export function nbdErrorOf(failure: NativeFailure, side: Side = failure.side): NbdError {
  return new NbdError(failure.code as EngineErrorCode, failure.message || "the server went away", {
    side,
    errno: failure.errno === 0 ? undefined : errnoName(failure.errno),
    offset: failure.offset,
    length: failure.length,
    attempts: Math.max(failure.attempts, 1),
  });
}

function errnoName(errno: number): string {
  const name = getSystemErrorName(-errno);
  return name.startsWith("Unknown") ? `errno ${errno}` : name;
}
