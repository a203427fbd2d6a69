// An NBD server over a piece of memory that keeps to the protocol in everything but what its
// mischief changes: every message passes through it on its way out.

import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import {
  allFlags,
  answer,
  blockSizeInfo,
  chunk,
  command,
  dataChunk,
  errorChunk,
  exportInfo,
  greeting,
  option,
  optionReply,
  requestBytes,
  simpleReply,
  statusChunk,
  structuredReply,
  u32,
} from "./nbd-wire.ts";

export type MessageKind =
  | ("greeting" | "ack" | "info" | "blockInfo" | "meta" | "optionError")
  | ("read" | "write" | "flush" | "zero" | "trim" | "status" | "error");

export interface Message {
  readonly kind: MessageKind;
  readonly bytes: Buffer;
  /** Of transmission messages. */
  readonly request?: Request;
}

export interface Request {
  readonly type: number;
  readonly cookie: bigint;
  readonly offset: number;
  readonly length: number;
  /** Structured replies were agreed on. */
  readonly structured: boolean;
}

/** What becomes of a message: bytes to send, and what then happens to the connection. */
export interface Outgoing {
  readonly bytes: Buffer;
  readonly after?: "close" | "reset" | "silence";
  /** Sent after the bytes, again and again, until the client has had enough. */
  readonly endlessly?: Buffer;
  /** The rest comes in drops. */
  readonly drip?: boolean;
}

export type Mischief = (message: Message) => Outgoing;

export interface ServedMemory {
  readonly memory: Buffer;
  /** Said in the handshake; default: the truth. */
  readonly sizeBytes?: bigint;
  readonly flags?: number;
  readonly structured?: boolean;
  readonly extents?: boolean;
  readonly blockSizes?: readonly [number, number, number];
  /** Without it the client has to fall back to NBD_OPT_EXPORT_NAME. */
  readonly go?: boolean;
}

export interface MischievousServer extends AsyncDisposable {
  readonly uri: string;
  connections: number;
  /** A flush was answered, and nothing was written after it. */
  flushed: boolean;
  writes: number;
}

const contextId = 7;

/** `place` is the path of a Unix socket to make; absent: a TCP port. */
export async function startMischievous(
  served: ServedMemory,
  mischief: Mischief,
  place?: string,
): Promise<MischievousServer> {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    state.connections += 1;
    open.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => open.delete(socket));
    void new Conversation(socket, served, mischief, state).run().catch(() => socket.destroy());
  });
  await once(place ? server.listen(place) : server.listen(0, "127.0.0.1"), "listening");
  const state: MischievousServer = {
    uri: place
      ? `nbd+unix:///?socket=${encodeURIComponent(place)}`
      : `nbd://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    connections: 0,
    flushed: true,
    writes: 0,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return state;
}

class Conversation {
  readonly #socket: Socket;
  readonly #input: AsyncGenerator<Buffer, Buffer, number>;
  readonly #served: ServedMemory;
  readonly #mischief: Mischief;
  readonly #state: MischievousServer;
  #structured = false;
  #extents = false;
  #silent = false;

  constructor(socket: Socket, served: ServedMemory, mischief: Mischief, state: MischievousServer) {
    this.#socket = socket;
    this.#input = exactly(socket);
    this.#served = served;
    this.#mischief = mischief;
    this.#state = state;
  }

  async run(): Promise<void> {
    await this.#input.next(0);
    await this.#send("greeting", greeting());
    await this.#take(4);
    if (!(await this.#haggle())) return;
    for (;;) await this.#serve();
  }

  async #take(length: number): Promise<Buffer> {
    return (await this.#input.next(length)).value;
  }

  async #send(kind: MessageKind, bytes: Buffer, request?: Request): Promise<void> {
    if (this.#silent) return;
    const out = this.#mischief({ kind, bytes, ...(request ? { request } : {}) });
    if (out.after === "silence" || out.endlessly) this.#silent = true;
    if (out.drip) {
      for (let at = 0; at < out.bytes.length && !this.#socket.destroyed; at++) {
        this.#socket.write(out.bytes.subarray(at, at + 1));
        await new Promise((resolve) => setTimeout(resolve, 15));
      }
    } else if (!this.#socket.write(out.bytes)) await drained(this.#socket);
    while (out.endlessly && !this.#socket.destroyed) {
      if (!this.#socket.write(out.endlessly)) await drained(this.#socket);
      else await new Promise((resolve) => setImmediate(resolve));
    }
    if (out.after === "close") this.#socket.end();
    if (out.after === "reset") this.#socket.destroy();
  }

  /** True when transmission begins. */
  async #haggle(): Promise<boolean> {
    const { memory, sizeBytes = BigInt(memory.length), flags = allFlags } = this.#served;
    for (;;) {
      const head = await this.#take(16);
      const wanted = head.readUInt32BE(8);
      const data = await this.#take(Math.min(head.readUInt32BE(12), 65_536));
      if (wanted === option.exportName) {
        await this.#send("info", exportInfo(sizeBytes, flags).subarray(2));
        return true;
      }
      if (wanted === option.abort) {
        await this.#send("ack", optionReply(wanted, answer.ack));
        this.#socket.end();
        return false;
      }
      if (wanted === option.structuredReply && this.#served.structured !== false) {
        this.#structured = true;
        await this.#send("ack", optionReply(wanted, answer.ack));
      } else if (wanted === option.setMetaContext && this.#served.extents !== false) {
        if (data.includes("base:allocation")) {
          this.#extents = true;
          const context = Buffer.concat([u32(contextId), Buffer.from("base:allocation")]);
          await this.#send("meta", optionReply(wanted, answer.metaContext, context));
        }
        await this.#send("ack", optionReply(wanted, answer.ack));
      } else if ((wanted === option.go || wanted === option.info) && this.#served.go !== false) {
        await this.#send("info", optionReply(wanted, answer.info, exportInfo(sizeBytes, flags)));
        const sizes = blockSizeInfo(...(this.#served.blockSizes ?? [1, 4096, 1 << 25]));
        await this.#send("blockInfo", optionReply(wanted, answer.info, sizes));
        await this.#send("ack", optionReply(wanted, answer.ack));
        if (wanted === option.go) return true;
      } else await this.#send("optionError", optionReply(wanted, answer.unsupported));
    }
  }

  async #serve(): Promise<void> {
    const head = await this.#take(requestBytes);
    if (head.readUInt32BE(0) !== 0x25609513) throw new Error("the client broke the protocol");
    const request: Request = {
      type: head.readUInt16BE(6),
      cookie: head.readBigUInt64BE(8),
      offset: Number(head.readBigUInt64BE(16)),
      length: head.readUInt32BE(24),
      structured: this.#structured,
    };
    const { type, offset, length } = request;
    const { memory } = this.#served;
    const data = type === command.write ? await this.#take(length) : Buffer.alloc(0);
    if (type === command.disconnect) {
      this.#socket.end();
      throw new Error("over");
    }
    if (offset + length > memory.length) return this.#fail(request, 22);
    if (type === command.read) {
      const bytes = memory.subarray(offset, offset + length);
      const reply = this.#structured
        ? structuredReply(request.cookie, chunk.data, dataChunk(BigInt(offset), bytes))
        : simpleReply(request.cookie, 0, bytes);
      return this.#send("read", reply, request);
    }
    if (type === command.blockStatus && this.#extents) {
      const pairs = extentsOf(memory.subarray(offset, offset + length));
      const reply = structuredReply(
        request.cookie,
        chunk.blockStatus,
        statusChunk(contextId, pairs),
      );
      return this.#send("status", reply, request);
    }
    if (type === command.write) data.copy(memory, offset);
    else if (type === command.writeZeroes || type === command.trim)
      memory.fill(0, offset, offset + length);
    else if (type !== command.flush) return this.#fail(request, 22);
    const kinds = { 1: "write", 3: "flush", 4: "trim", 6: "zero" } as const;
    this.#state.flushed = type === command.flush;
    if (type !== command.flush) this.#state.writes += 1;
    await this.#send(kinds[type as keyof typeof kinds], this.#done(request), request);
  }

  #done(request: Request): Buffer {
    return this.#structured
      ? structuredReply(request.cookie, chunk.none, Buffer.alloc(0))
      : simpleReply(request.cookie, 0);
  }

  #fail(request: Request, error: number): Promise<void> {
    const reply = this.#structured
      ? structuredReply(request.cookie, chunk.error, errorChunk(error, "no"))
      : simpleReply(request.cookie, error);
    return this.#send("error", reply, request);
  }
}

/** The truth about zeroes, in steps of 4 KiB. */
export function extentsOf(bytes: Buffer): [number, number][] {
  const pairs: [number, number][] = [];
  for (let at = 0; at < bytes.length; at += 4096) {
    const part = bytes.subarray(at, at + 4096);
    const flags = part.every((byte) => byte === 0) ? 3 : 0;
    const last = pairs.at(-1);
    if (last?.[1] === flags) last[0] += part.length;
    else pairs.push([part.length, flags]);
  }
  return pairs;
}

/** Gives as many bytes as each `next` asks for; throws at the end of the stream. */
async function* exactly(socket: Socket): AsyncGenerator<Buffer, Buffer, number> {
  let wanted = yield Buffer.alloc(0);
  let held: Buffer = Buffer.alloc(0);
  const parts = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  for (;;) {
    while (held.length < wanted) {
      const { value, done } = await parts.next();
      if (done) throw new Error("the client is gone");
      held = held.length === 0 ? value : Buffer.concat([held, value]);
    }
    const given = held.subarray(0, wanted);
    held = held.subarray(wanted);
    wanted = yield given;
  }
}

async function drained(socket: Socket): Promise<void> {
  const over = new AbortController();
  const events = ["drain", "close"].map((name) => once(socket, name, { signal: over.signal }));
  await Promise.race(events).catch(() => {});
  over.abort();
  await Promise.allSettled(events);
}
