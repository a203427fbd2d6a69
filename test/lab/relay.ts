// A stretch of the way to a target that holds back what it has taken, as a tunnel or a kernel does over a
// broken line, and lets it go later, whatever has become of the sender.

import { connect, createServer, type Socket } from "node:net";
import { until } from "../until.ts";

/** Of what one connection sends before it writes: greetings and small requests. */
const passedBytes = 4096;
/** So much a connection takes in while it holds; then the sender has to wait. */
const heldBytesMaximum = 4 * 1024 * 1024;

interface Way {
  readonly sender: Socket;
  readonly server: Socket;
  sentBytes: number;
  readonly held: Buffer[];
  holds: boolean;
}

export class Relay implements AsyncDisposable {
  readonly port: number;
  readonly #close: () => void;
  readonly #ways = new Set<Way>();
  /** How the senders of what is held here ended, in order (`FIN`) or with an error such as ECONNRESET. */
  readonly endings: string[] = [];
  #holding = false;
  #heldBytesMaximum = heldBytesMaximum;

  private constructor(port: number, close: () => void) {
    this.port = port;
    this.#close = close;
  }

  /** On a free port of 127.0.0.1, to `targetPort` there. */
  static async start(targetPort: number): Promise<Relay> {
    const server = createServer((sender) => relay.#accept(sender, targetPort));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    const relay = new Relay(address.port, () => server.close());
    return relay;
  }

  /** From now on the writes of every connection stay here; those of connections made after `pass` do not. */
  hold(): void {
    this.#heldBytesMaximum = heldBytesMaximum;
    this.#holding = true;
  }

  pass(): void {
    this.#holding = false;
  }

  /** How a sender that has to wait has ended is seen only by who reads on: takes in what there still is. */
  readOn(): void {
    this.#heldBytesMaximum = Number.POSITIVE_INFINITY;
    for (const { sender } of this.#ways) sender.resume();
  }

  get heldBytes(): number {
    const held = [...this.#ways].flatMap((way) => way.held);
    return held.reduce((sum, { length }) => sum + length, 0);
  }

  /** Sends all that is held on its way; resolves when the server has taken it and closed. */
  async release(): Promise<void> {
    const holding = [...this.#ways].filter(({ holds }) => holds);
    for (const { server, held } of holding) {
      for (const chunk of held) server.write(chunk);
      server.end();
    }
    await until("the server took it", () => holding.every(({ server }) => server.closed));
  }

  #accept(sender: Socket, targetPort: number): void {
    const server = connect(targetPort, "127.0.0.1");
    const way: Way = { sender, server, sentBytes: 0, held: [], holds: false };
    this.#ways.add(way);
    sender.on("error", (error: NodeJS.ErrnoException) => this.#note(way, error.code ?? "error"));
    sender.on("end", () => this.#note(way, "FIN"));
    server.on("error", () => {});
    sender.on("data", (chunk: Buffer) => this.#send(way, chunk));
    server.pipe(sender);
    sender.on("close", () => {
      server.resume();
      if (!way.holds) server.end();
    });
    server.on("close", () => {
      sender.destroy();
      this.#ways.delete(way);
    });
  }

  #note(way: Way, ending: string): void {
    if (way.holds) this.endings.push(ending);
  }

  #send(way: Way, chunk: Buffer): void {
    way.sentBytes += chunk.length;
    if (this.#holding && way.sentBytes > passedBytes) way.holds = true;
    if (!way.holds) {
      way.server.write(chunk);
      return;
    }
    way.held.push(chunk);
    const heldBytes = way.held.reduce((sum, { length }) => sum + length, 0);
    if (heldBytes > this.#heldBytesMaximum) way.sender.pause();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#close();
    for (const { sender, server } of this.#ways) {
      sender.destroy();
      server.destroy();
    }
  }
}
