/**
 * The face of the native copy engine: probe an export, copy or compare two exports, hash ranges, read a
 * few bytes. What is copied or compared never enters JavaScript. Nothing else loads the addon.
 */
import { checkCopyOptions, checkEndpoint, checkLimits, checkRange, checkRead } from "./checks.ts";
import { NbdError, type Side } from "./errors.ts";
import { Feeder } from "./feeder.ts";
import { loadNative } from "./native.ts";
import type { NativeEndpoint, NativeEngine, NativeFigures, NativeTrouble } from "./native-types.ts";
import { runNative } from "./run.ts";

export { NbdError } from "./errors.ts";
/** For a single executable: where it extracted the addon to. To be called before first use. */
export { setNativePath } from "./native.ts";

export interface NbdEndpoint {
  /** nbd://host:port/export, nbds://, nbd+unix:///export?socket=… */
  uri: string;
  /** 1-64; absent: as many as measuring finds worthwhile */
  connections?: number;
  /** Directory with ca-cert.pem, and client-cert.pem and client-key.pem for client certificates */
  tlsCertDir?: string;
  tlsPskFile?: string;
  tlsUsername?: string;
}

/** What the server said about an export. */
export interface ExportInfo {
  sizeBytes: number;
  minimumBlockBytes: number;
  preferredBlockBytes: number;
  /** 0: the server did not say */
  maximumBlockBytes: number;
  readOnly: boolean;
  canFlush: boolean;
  canFua: boolean;
  canTrim: boolean;
  canZero: boolean;
  canFastZero: boolean;
  canMultiConn: boolean;
  /** base:allocation was negotiated */
  canExtents: boolean;
  structuredReplies: boolean;
  tls: boolean;
  protocol: string;
}

/** The third number of a chunk. */
export const chunkKind = {
  data: 0,
  /** Read and seen to be zero; zeroed or skipped on the target. */
  zero: 1,
  /** Not read: the source's extents said that it is zero. */
  hole: 2,
} as const;

export interface RetryEvent {
  side: Side;
  message: string;
  /** Counts from 1 since the last success. */
  attempt: number;
  offset?: number;
  length?: number;
}

export interface EngineNote {
  side: Side;
  message: string;
}

interface TransferOptions {
  source: NbdEndpoint;
  target: NbdEndpoint;
  capacityBytes: number;
  /** Pairs [offset, length, …], sorted and disjoint over all pages; absent: the whole disk. */
  extents?: Float64Array | AsyncIterable<Float64Array>;
  /** Ask the source for holes instead of reading them, where it offers base:allocation [true]. */
  sourceExtents?: boolean;
  /** Largest read, at most 2 MiB; absent: 512 KiB to 2 MiB, as measured. */
  requestBytes?: number;
  /** Reads are merged across gaps of up to this; absent: as measured. Gaps are never written. */
  gapBytes?: number;
  /** For this transfer alone, in place of the engine's own. */
  stallTimeoutMs?: number;
  flushTimeoutMs?: number;
  /** Per range, and per side since the last success [10 attempts, 300 000 ms]. */
  retry?: { attempts: number; maxElapsedMs: number };
  signal?: AbortSignal;
  /** Triples [offset, length, kind, …] of finished ranges, in the order in which they finished. */
  onChunks?(chunks: Float64Array): void;
  onRetry?(event: RetryEvent): void;
  /** Something was done another way than usual, e.g. read because extents failed. For the log. */
  onNote?(note: EngineNote): void;
  /** Called once, last of all, however it ended. */
  onFigures?(figures: Figures): void;
}

/**
 * What was asked of both servers and carried out by them, retries included: exact for what ended, well or
 * not. Lost with a connection: what it had not answered.
 */
export interface Figures extends Readonly<NativeFigures> {
  /** Begin and end on the monotonic clock. */
  readonly fromMs: number;
  readonly toMs: number;
}

export interface CopyOptions extends TransferOptions {
  /** The operator vouches that the target is zero: zeroes are skipped. */
  targetIsZero?: boolean;
  /** [5 000] */
  checkpointIntervalMs?: number;
  /** Every chunk that was given to onChunks before this call is flushed on the target. */
  onCheckpoint?(): void;
}

export interface CopyResult {
  /** From the source, the gaps between ranges that were read across included. */
  readBytes: number;
  writtenBytes: number;
  zeroedBytes: number;
  /** Had to be zero on the target and was known, or seen, to be so already. */
  skippedBytes: number;
  /** Read from the target, mostly to see what is zero there already. */
  targetReadBytes: number;
  retries: number;
  /** The most that were in use. */
  sourceConnections: number;
  targetConnections: number;
  /** How zeroes were last dealt with: none, skip, fast-zero, read, write-zeroes, trim, data. */
  zeroMethod: string;
  sourceExtentsUsed: boolean;
  durationMs: number;
}

export interface CompareOptions extends TransferOptions {
  /** How many differing ranges are listed [1000] */
  differencesMaximum?: number;
}

export interface CompareResult {
  comparedBytes: number;
  /** From the source; what its extents tell to be zero is not read there. */
  readBytes: number;
  /** Pairs [offset, length, …] in steps of 512 bytes, the lowest first. */
  differences: Float64Array;
  differingBytes: number;
  /** There are more differences than listed. */
  truncated: boolean;
  retries: number;
  durationMs: number;
}

/**
 * Connects, reads what the server says about the export, and parts.
 * @throws NbdError ENGINE_CONNECT, ENGINE_REFUSED, ENGINE_TIMEOUT; the signal's reason
 */
export async function probeExport(
  endpoint: NbdEndpoint,
  options: { signal?: AbortSignal; timeoutMs?: number; side?: Side } = {},
): Promise<ExportInfo> {
  const { signal, timeoutMs = 30_000, side = "target" } = options;
  const native = nativeEndpoint(endpoint);
  const info = await runNative<ExportInfo>({ signal, side }, (callback) =>
    loadNative().probe(native, timeoutMs, callback),
  );
  if (Number.isSafeInteger(info.sizeBytes)) return info;
  const message = `the server says that the export has ${info.sizeBytes} bytes, which cannot be true`;
  throw new NbdError("ENGINE_REFUSED", message, { side });
}

/**
 * SHA-256 (hex) of each range [offset, length, …], in order.
 * @throws NbdError ENGINE_CONNECT, ENGINE_REFUSED, ENGINE_TIMEOUT, ENGINE_LOST, ENGINE_READ, ENGINE_SIZE
 *   where a range ends behind the export; the signal's reason
 */
export async function digestRanges(
  endpoint: NbdEndpoint,
  ranges: Float64Array,
  options: { signal?: AbortSignal; timeoutMs?: number; side?: Side } = {},
): Promise<string[]> {
  const { signal, timeoutMs = 60_000, side = "target" } = options;
  const native = nativeEndpoint(endpoint);
  checkRange(ranges);
  return await runNative<string[]>({ signal, side }, (callback) =>
    loadNative().digest(native, ranges, timeoutMs, callback),
  );
}

/**
 * What the export holds in [offset, offset + lengthBytes): the only disk bytes that enter JavaScript, at
 * most 1 MiB of them, for what is looked at, such as a partition table. Aligned to nothing.
 * @throws NbdError as digestRanges(); RangeError for more; the signal's reason
 */
export async function readRange(
  endpoint: NbdEndpoint,
  offset: number,
  lengthBytes: number,
  options: { signal?: AbortSignal; timeoutMs?: number; side?: Side } = {},
): Promise<Uint8Array> {
  const { signal, timeoutMs = 60_000, side = "target" } = options;
  const native = nativeEndpoint(endpoint);
  checkRead(offset, lengthBytes);
  return await runNative<Uint8Array>({ signal, side }, (callback) =>
    loadNative().read(native, offset, lengthBytes, timeoutMs, callback),
  );
}

/** How long a server kept a connection whose client had fallen silent. */
export interface Silence {
  readonly lastedMs: number;
  /** The server let go. False: it was still there when the limit was over. */
  readonly dropped: boolean;
}

/**
 * Connects as a copy does and then hears and says nothing, as a machine that died or was cut off, until the
 * server lets go: while all was said and acknowledged (`idle`), or while an answer of the server's is under way
 * that nobody acknowledges (`answering`). Over TCP only; writes nothing.
 * @throws NbdError as readRange(); ENGINE_LOST too where it cannot be told; the signal's reason
 */
export async function keepSilent(
  endpoint: NbdEndpoint,
  during: "idle" | "answering",
  options: { limitMs: number; signal?: AbortSignal; timeoutMs?: number },
): Promise<Silence> {
  const { signal, limitMs, timeoutMs = 30_000 } = options;
  const native = nativeEndpoint(endpoint);
  checkRange(Float64Array.of(0, limitMs));
  return await runNative<Silence>({ signal, side: "target" }, (callback) =>
    loadNative().keepSilent(native, during === "answering", limitMs, timeoutMs, callback),
  );
}

/** A moment by both clocks that a deadline is kept by. */
export interface Clocks {
  /** Of a clock that goes on while the machine sleeps. */
  readonly bootMs: number;
  readonly wallMs: number;
}

/** Now. @throws MigratekitError native-missing */
export function readClocks(): Clocks {
  const [bootMs, wallMs] = loadNative().clocks();
  return { bootMs: bootMs!, wallMs: wallMs! };
}

/** @throws MigratekitError native-missing */
export function libnbdVersion(): string {
  return loadNative().libnbdVersion();
}

interface EngineOptions {
  /** The most that copies have on their way together [256 MiB]; they use more than 32 where that is faster. */
  memoryBytes?: number | undefined;
  /** Absent or 0: no limit. */
  maxBytesPerSecond?: number | undefined;
  /** A server that leaves requests unanswered for so long counts as lost [60 000]. */
  stallTimeoutMs?: number | undefined;
  /** The same for a flush, which lasts until the target's caches are written, and for all beside it [600 000]. */
  flushTimeoutMs?: number | undefined;
}

/** What all disks of a run share: the memory that is read into, the rate limit, and how long servers may take. */
export class Engine implements Disposable {
  #native: NativeEngine | undefined;
  readonly #limits: { stallTimeoutMs: number | undefined; flushTimeoutMs: number | undefined };
  readonly #running = new Set<AbortController>();

  constructor(options: EngineOptions = {}) {
    const { memoryBytes = 256 * 1024 * 1024, maxBytesPerSecond = 0 } = options;
    const { stallTimeoutMs, flushTimeoutMs } = options;
    checkRange(Float64Array.of(memoryBytes, maxBytesPerSecond));
    checkLimits(options);
    this.#limits = { stallTimeoutMs, flushTimeoutMs };
    this.#native = new (loadNative().Engine)(memoryBytes, maxBytesPerSecond);
  }

  /**
   * Resolves when every byte of the ranges is on the target and flushed.
   * @throws NbdError; the signal's reason; whatever a callback or the extents threw
   */
  async copy(options: CopyOptions): Promise<CopyResult> {
    const startedAt = performance.now();
    const result = await this.#transfer<CopyResult>("copy", options, options);
    return { ...result, durationMs: performance.now() - startedAt };
  }

  /** Reads both sides and compares. Writes nothing. Errors as copy(). */
  async compare(options: CompareOptions): Promise<CompareResult> {
    const startedAt = performance.now();
    const result = await this.#transfer<CompareResult>("compare", options, options);
    return { ...result, durationMs: performance.now() - startedAt };
  }

  async #transfer<Result>(
    mode: "copy" | "compare",
    options: TransferOptions,
    extra: Partial<CopyOptions & CompareOptions>,
  ): Promise<Result> {
    checkCopyOptions(options);
    const native = this.#native;
    if (!native)
      throw new NbdError("ENGINE_CLOSED", "the copy engine was closed", { side: "target" });
    const controller = new AbortController();
    this.#running.add(controller);
    const signal = options.signal
      ? AbortSignal.any([options.signal, controller.signal])
      : controller.signal;
    const feeder = new Feeder(options.extents, controller);
    const fromMs = performance.now();
    let figures: (() => NativeFigures) | undefined;
    try {
      return await runNative<Result>(
        {
          signal,
          events: {
            chunks: (value) => options.onChunks?.(value as Float64Array),
            checkpoint: () => extra.onCheckpoint?.(),
            retry: (value) => options.onRetry?.(value as NativeTrouble),
            note: (value) => options.onNote?.(value as EngineNote),
            hungry: () => feeder.hungry(),
          },
        },
        (callback) => {
          const task = native.start(
            {
              mode,
              source: nativeEndpoint(options.source),
              target: nativeEndpoint(options.target),
              capacityBytes: options.capacityBytes,
              wholeDisk: options.extents === undefined,
              sourceExtents: options.sourceExtents ?? true,
              targetIsZero: extra.targetIsZero ?? false,
              requestBytes: options.requestBytes,
              gapBytes: options.gapBytes,
              stallTimeoutMs: options.stallTimeoutMs ?? this.#limits.stallTimeoutMs,
              flushTimeoutMs: options.flushTimeoutMs ?? this.#limits.flushTimeoutMs,
              retryAttempts: options.retry?.attempts,
              retryMaxElapsedMs: options.retry?.maxElapsedMs,
              checkpointIntervalMs: extra.checkpointIntervalMs,
              checkpoints: extra.onCheckpoint !== undefined,
              differencesMaximum: extra.differencesMaximum,
            },
            callback,
          );
          figures = () => task.figures();
          feeder.start(task);
          return task;
        },
      );
    } finally {
      this.#running.delete(controller);
      feeder.stop();
      if (figures) options.onFigures?.({ ...figures(), fromMs, toMs: performance.now() });
    }
  }

  get closed(): boolean {
    return this.#native === undefined;
  }

  /** Another rate limit, 0 for none, from now on; copies that run keep to it. Nothing once closed. */
  limitRate(maxBytesPerSecond: number): void {
    checkRange(Float64Array.of(0, maxBytesPerSecond));
    this.#native?.limitRate(maxBytesPerSecond);
  }

  /**
   * From now on copies that are begun send nothing to their targets once this moment is over, by either
   * clock, and go on when it is moved on. They wait without failing, and so do comparisons, whose source may be
   * away then, too. Nothing once closed.
   */
  writeUntil({ bootMs, wallMs }: Clocks): void {
    checkRange(Float64Array.of(bootMs, wallMs));
    this.#native?.writeUntil(bootMs, wallMs);
  }

  /** Copies that still run are aborted. */
  [Symbol.dispose](): void {
    this.#native = undefined;
    for (const controller of this.#running)
      controller.abort(
        new NbdError("ENGINE_CLOSED", "the copy engine was closed", { side: "target" }),
      );
  }
}

function nativeEndpoint(endpoint: NbdEndpoint): NativeEndpoint {
  checkEndpoint(endpoint);
  return {
    uri: endpoint.uri,
    connections: endpoint.connections ?? 0,
    tlsCertDir: endpoint.tlsCertDir ?? "",
    tlsPskFile: endpoint.tlsPskFile ?? "",
    tlsUsername: endpoint.tlsUsername ?? "",
  };
}
