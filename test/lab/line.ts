// A line of TCP that can be cut and mended, each time for all that goes over it.

import { connect, type Server, type Socket } from "node:net";

/** `silent`: nobody hears anything, and what was sent arrives when it is mended. `refused`: all is reset. */
export type Cut = "silent" | "refused";

export class Line implements AsyncDisposable {
  readonly #server: Server;
  readonly #port: number;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  /** Who called while it was cut. */
  #waiting: Socket[] = [];
  #cut: Cut | undefined;

  /** From who calls `server` to a port of 127.0.0.1. */
  constructor(server: Server, port: number) {
    this.#server = server;
    this.#port = port;
    server.on("connection", (caller: Socket) => this.#take(caller));
  }

  cut(how: Cut): void {
    this.#cut = how;
    for (const [caller, callee] of this.#pairs) {
      if (how === "refused") {
        caller.resetAndDestroy();
        callee.destroy();
      } else {
        caller.unpipe(callee).pause();
        callee.unpipe(caller).pause();
      }
    }
  }

  mend(): void {
    this.#cut = undefined;
    for (const pair of this.#pairs) join(...pair);
    for (const caller of this.#waiting.splice(0)) this.#take(caller);
  }

  #take(caller: Socket): void {
    caller.on("error", () => {});
    if (this.#cut === "silent") {
      this.#waiting.push(caller);
      return;
    }
    if (this.#cut === "refused") {
      caller.resetAndDestroy();
      return;
    }
    const callee = connect(this.#port, "127.0.0.1");
    callee.on("error", () => {});
    const pair = [caller, callee] as const;
    this.#pairs.add(pair);
    // What a dead caller has sent goes on its way.
    caller.on("close", () => callee.end());
    callee.on("close", () => {
      caller.destroy();
      this.#pairs.delete(pair);
    });
    join(...pair);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of [...[...this.#pairs].flat(), ...this.#waiting]) socket.destroy();
    await closed;
  }
}

function join(caller: Socket, callee: Socket): void {
  caller.pipe(callee);
  callee.pipe(caller);
}
