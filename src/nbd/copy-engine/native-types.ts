/**
 * The addon, as `native/addon.cc` exports it. Arguments are checked in copy-engine.ts; natively
 * they are only unpacked. Each start function calls back with ("done", value) or ("failed", failure)
 * exactly once, as the last call.
 */
export interface NativeAddon {
  libnbdVersion(): string;
  /** [bootMs, wallMs] */
  clocks(): Float64Array;
  probe(endpoint: NativeEndpoint, timeoutMs: number, callback: NativeCallback): NativeTask;
  digest(
    endpoint: NativeEndpoint,
    ranges: Float64Array,
    timeoutMs: number,
    callback: NativeCallback,
  ): NativeTask;
  read(
    endpoint: NativeEndpoint,
    offset: number,
    lengthBytes: number,
    timeoutMs: number,
    callback: NativeCallback,
  ): NativeTask;
  keepSilent(
    endpoint: NativeEndpoint,
    answering: boolean,
    limitMs: number,
    timeoutMs: number,
    callback: NativeCallback,
  ): NativeTask;
  Engine: new (memoryBytes: number, maxBytesPerSecond: number) => NativeEngine;
}

export interface NativeEndpoint {
  uri: string;
  /** 0: found by measuring */
  connections: number;
  tlsCertDir: string;
  tlsPskFile: string;
  tlsUsername: string;
}

export interface NativeTask {
  abort(): void;
  /** For a process that exits: returns when the threads have ended, after a second at most. */
  abortAndWait(): void;
}

export interface NativeCopy extends NativeTask {
  /** True: more pages are welcome now. False: wait for the event "hungry". */
  push(pairs: Float64Array): boolean;
  end(): void;
  /** So far; of a job that has ended, all of it. */
  figures(): NativeFigures;
}

export interface NativeFigures {
  readBytes: number;
  writtenBytes: number;
  zeroedBytes: number;
  skippedBytes: number;
  targetReadBytes: number;
  comparedBytes: number;
  retries: number;
}

export interface NativeEngine {
  limitRate(maxBytesPerSecond: number): void;
  writeUntil(bootMs: number, wallMs: number): void;
  start(options: NativeCopyOptions, callback: NativeCallback): NativeCopy;
}

export interface NativeCopyOptions {
  mode: "copy" | "compare";
  source: NativeEndpoint;
  target: NativeEndpoint;
  capacityBytes: number;
  wholeDisk: boolean;
  sourceExtents: boolean;
  targetIsZero: boolean;
  requestBytes?: number | undefined;
  gapBytes?: number | undefined;
  stallTimeoutMs?: number | undefined;
  flushTimeoutMs?: number | undefined;
  retryAttempts?: number | undefined;
  retryMaxElapsedMs?: number | undefined;
  checkpointIntervalMs?: number | undefined;
  checkpoints: boolean;
  differencesMaximum?: number | undefined;
}

export interface NativeFailure {
  code: string;
  side: "source" | "target";
  /** 0: none */
  errno: number;
  message: string;
  offset?: number;
  length?: number;
  attempts: number;
}

export interface NativeTrouble {
  side: "source" | "target";
  message: string;
  attempt: number;
  offset?: number;
  length?: number;
}

export type NativeCallback = (type: string, value: unknown) => void;
