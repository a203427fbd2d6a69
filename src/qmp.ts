/** QEMU's own protocol (QMP): JSON lines on a Unix socket, answers by number, events in between. */
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

export interface QmpEvent {
  readonly event: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

interface Answer {
  readonly id?: number;
  readonly event?: string;
  readonly data?: Readonly<Record<string, unknown>>;
  readonly return?: unknown;
  readonly error?: { readonly desc?: string };
}

const connectTimeoutMs = 15_000;
const answerTimeoutMs = 30_000;
const retryMs = 50;

export class Qmp implements Disposable {
  readonly #socket: Socket;
  readonly #onEvent: (event: QmpEvent) => void;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #next = 1;

  private constructor(socket: Socket, onEvent: (event: QmpEvent) => void) {
    this.#socket = socket;
    this.#onEvent = onEvent;
    // A connection that breaks is told by its close; readline passes the error on as its own.
    const lines = createInterface({ input: socket });
    lines.on("line", (line) => this.#read(line)).on("error", () => {});
    socket.on("error", () => {}).on("close", () => this.#end());
  }

  /** Waits until QEMU listens. @throws Error when it does not, or `signal`'s reason */
  static async connect(
    path: string,
    onEvent: (event: QmpEvent) => void,
    signal: AbortSignal,
  ): Promise<Qmp> {
    const startMs = performance.now();
    for (;;) {
      const socket = await tryConnect(path);
      if (socket !== undefined) {
        const qmp = new Qmp(socket, onEvent);
        await qmp.execute("qmp_capabilities");
        return qmp;
      }
      if (performance.now() - startMs > connectTimeoutMs) throw new Error("QEMU does not answer");
      await sleep(retryMs, undefined, { signal });
    }
  }

  /** @throws Error with QEMU's words, when it takes too long, or when QEMU has ended */
  async execute(command: string, args?: Readonly<Record<string, unknown>>): Promise<unknown> {
    if (this.#socket.destroyed) throw new Error("QEMU has ended");
    const id = this.#next++;
    const waiting = Promise.withResolvers<unknown>();
    this.#waiting.set(id, waiting);
    const timer = setTimeout(
      () => waiting.reject(new Error(`QEMU did not answer ${command} in time`)),
      answerTimeoutMs,
    );
    const message = { execute: command, ...(args && { arguments: args }), id };
    this.#socket.write(`${JSON.stringify(message)}\n`);
    try {
      return await waiting.promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(id);
    }
  }

  #read(line: string): void {
    const message = JSON.parse(line) as Answer;
    if (message.event !== undefined) {
      this.#onEvent({ event: message.event, ...(message.data && { data: message.data }) });
    }
    const waiting = message.id === undefined ? undefined : this.#waiting.get(message.id);
    if (message.error) waiting?.reject(new Error(message.error.desc ?? "QEMU refused a command"));
    else waiting?.resolve(message.return);
  }

  #end(): void {
    for (const waiting of this.#waiting.values()) waiting.reject(new Error("QEMU has ended"));
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

function tryConnect(path: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => resolve(socket));
    socket.once("error", () => {
      socket.destroy();
      resolve(undefined);
    });
  });
}
