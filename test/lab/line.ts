// A line of TCP that can be cut and mended, each time for all that goes over it; where it leads is asked for
// every connection.

import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** `silent`: nobody hears anything, and what was sent arrives when it is mended. `refused`: all is reset. */
export type Cut = "silent" | "refused";

export class Line implements AsyncDisposable {
  readonly port: number;
  readonly #close: () => void;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  /** Of those who called while it was cut. */
  #waiting: (() => void)[] = [];
  #cut: Cut | undefined;

  private constructor(port: number, close: () => void) {
    this.port = port;
    this.#close = close;
  }

  /** On a free port of 127.0.0.1. `portOf`: where a caller is led to there; undefined: nowhere. */
  static async start(portOf: (caller: Socket) => number | undefined): Promise<Line> {
    const server = createServer({ allowHalfOpen: true }, (caller) => line.#take(caller, portOf));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const line = new Line((server.address() as AddressInfo).port, () => server.close());
    return line;
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
    for (const call of this.#waiting.splice(0)) call();
  }

  #take(caller: Socket, portOf: (caller: Socket) => number | undefined): void {
    caller.on("error", () => {});
    if (this.#cut === "silent") {
      this.#waiting.push(() => this.#take(caller, portOf));
      return;
    }
    const port = this.#cut === "refused" ? undefined : portOf(caller);
    if (port === undefined) {
      caller.resetAndDestroy();
      return;
    }
    const callee = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
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
    this.#close();
    for (const socket of [...this.#pairs].flat()) socket.destroy();
  }
}

function join(caller: Socket, callee: Socket): void {
  caller.pipe(callee);
  callee.pipe(caller);
}
