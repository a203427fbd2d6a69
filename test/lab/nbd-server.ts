import { rmSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { findFreePort, listensAt, listensOn } from "./ports.ts";
import { greets, type ProcessGroup } from "./process.ts";

const startTimeoutMs = 10_000;
const portTriesMax = 5;
const pollMs = 5;

/** A port of 127.0.0.1 or a Unix socket. */
export type Place = { readonly port: number } | { readonly socket: string };

export interface ServerSpec {
  readonly kind: "nbd-server" | "qemu-nbd" | "stunnel" | "nbdkit";
  /** What {@link NbdServer.uri} names. [the default export] */
  readonly exportName?: string;
  /** Starts the process that shall listen there; it need not do so yet. */
  start(place: Place): Promise<ProcessGroup>;
}

/**
 * An NBD server, or a tunnel to one, at one place, which stays the same over restarts. It can be
 * ended politely or killed, be stopped and continued by signals, and start again.
 */
export class NbdServer implements AsyncDisposable {
  readonly kind: ServerSpec["kind"];
  readonly uri: string;
  readonly #spec: ServerSpec;
  readonly #place: Place;
  #group: ProcessGroup | undefined;

  private constructor(spec: ServerSpec, place: Place) {
    this.kind = spec.kind;
    this.#spec = spec;
    this.#place = place;
    this.uri = this.uriOf(spec.exportName ?? "");
  }

  /** At this place; without one at a free port, another if somebody takes it in between. */
  static async start(spec: ServerSpec, wish?: Place): Promise<NbdServer> {
    for (let tries = 1; ; tries++) {
      const server = new NbdServer(spec, wish ?? { port: await findFreePort() });
      try {
        await server.start();
        return server;
      } catch (error) {
        if (wish || tries === portTriesMax) throw error;
      }
    }
  }

  /** Of 127.0.0.1; a server at a Unix socket has none. */
  get port(): number {
    if ("socket" in this.#place) throw new Error(`${this.uri} has no port`);
    return this.#place.port;
  }

  /** With the name percent-encoded. */
  uriOf(exportName: string): string {
    const name = encodeURIComponent(exportName);
    return "socket" in this.#place
      ? `nbd+unix:///${name}?socket=${this.#place.socket}`
      : `nbd://127.0.0.1:${this.#place.port}/${name}`;
  }

  /** After an end; resolves when it accepts connections. */
  async start(): Promise<void> {
    if ("socket" in this.#place) rmSync(this.#place.socket, { force: true });
    const group = await this.#spec.start(this.#place);
    this.#group = group;
    const signal = AbortSignal.timeout(startTimeoutMs);
    try {
      while (!(await listens(group, this.#place, signal))) {
        if (!group.isAlive())
          throw new Error(`${this.kind} ended at once: ${await group.lastWords()}`);
        if (signal.aborted) throw new Error(`${this.kind} does not greet: ${group.output()}`);
        await delay(pollMs);
      }
    } catch (error) {
      await group.kill();
      throw error;
    }
  }

  /** Ends politely; connections in progress are closed. Again is harmless. */
  async stop(): Promise<void> {
    await this.#group?.stop();
  }

  /** Ends at once, as a crash would. */
  async kill(): Promise<void> {
    await this.#group?.kill();
  }

  /** Ended before or not. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** SIGSTOP makes a server that hangs; SIGCONT ends it. */
  signal(name: NodeJS.Signals): void {
    this.#group?.signal(name);
  }

  isRunning(): boolean {
    return this.#group?.isAlive() === true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    if ("socket" in this.#place) rmSync(this.#place.socket, { force: true });
  }
}

async function listens(group: ProcessGroup, place: Place, signal: AbortSignal): Promise<boolean> {
  // A connection to try it would use up servers that end after the last client.
  if ("socket" in place) return listensOn(place.socket);
  // Whoever else has the port greets too; a server of ours that could not bind it ends.
  return listensAt(group.pid, place.port) && (await greets(place.port, signal));
}
