/** Progress for programs: one JSON object a line, each second, at each stage and at the end. Names and units are an interface. */
import { redact } from "../logger.ts";
import type { Amounts, ProgressSnapshot } from "./progress.ts";

interface JsonLinesOptions {
  readonly write: (line: string) => void;
  /** Of a list: which VM it is. */
  readonly vm?: string | undefined;
  /** [1000] */
  readonly intervalMs?: number;
}

export class JsonProgress implements Disposable {
  readonly #write: (line: string) => void;
  readonly #vm: string | undefined;
  readonly #intervalMs: number;
  #getSnapshot: (() => ProgressSnapshot) | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: JsonLinesOptions) {
    this.#write = options.write;
    this.#vm = options.vm;
    this.#intervalMs = options.intervalMs ?? 1000;
  }

  start(getSnapshot: () => ProgressSnapshot): void {
    this.#getSnapshot = getSnapshot;
    this.#tell();
    this.#timer ??= setInterval(() => this.#tell(), this.#intervalMs).unref();
  }

  stageChanged(): void {
    this.#tell();
    this.#timer?.refresh();
  }

  /** Tells the last state. Safe to call twice. */
  stop(): void {
    clearInterval(this.#timer);
    this.#tell();
    this.#getSnapshot = undefined;
  }

  [Symbol.dispose](): void {
    this.stop();
  }

  /** Nobody reads what cannot be told; the run goes on. */
  #tell(): void {
    const state = this.#getSnapshot?.();
    if (state === undefined) return;
    // A peer's words may be in it.
    this.#write(redact(`${JSON.stringify(progressDocument(state, this.#vm))}\n`));
  }
}

function progressDocument(state: ProgressSnapshot, vm: string | undefined) {
  return {
    type: "progress",
    time: new Date().toISOString(),
    vm,
    stage: state.stage,
    detail: state.detail,
    sync_type: state.syncType,
    ...amounts(state.total),
    disks: state.disks.map((disk) => ({
      disk_id: disk.diskId,
      sync_type: disk.syncType,
      ...amounts(disk),
      note: disk.note,
      finished: disk.finished,
      stopped: disk.stopped,
    })),
  };
}

function amounts({ percent, transferredBytes, totalBytes, throughputBps, etaSeconds }: Amounts) {
  return {
    percent,
    transferred_bytes: transferredBytes,
    total_bytes: totalBytes,
    throughput_bps: Math.round(throughputBps),
    eta_seconds: etaSeconds === undefined ? undefined : Math.round(etaSeconds),
  };
}
