/** QEMU's monitor, as far as the lab needs it: one command at a time, over a Unix socket. */

import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { createInterface, type Interface } from "node:readline";

export class QmpClient {
  readonly #socket: Socket;
  readonly #lines: Interface;

  private constructor(socket: Socket, lines: Interface) {
    this.#socket = socket;
    this.#lines = lines;
  }

  static async connect(path: string): Promise<QmpClient> {
    const socket = connect(path);
    await once(socket, "connect");
    // A monitor that is left open must not keep this process alive, and may end at any time.
    socket.unref();
    socket.on("error", () => {});
    const lines = createInterface({ input: socket });
    const client = new QmpClient(socket, lines);
    lines.on("error", () => {});
    const ended = once(socket, "close").then(() => Promise.reject(new Error("QEMU has ended")));
    await Promise.race([once(lines, "line"), ended]);
    await client.run("qmp_capabilities");
    return client;
  }

  async run(execute: string): Promise<void> {
    const answered = new Promise<void>((resolve, reject) => {
      const look = (line: string): void => {
        const answer = JSON.parse(line) as { return?: unknown; error?: { desc: string } };
        if (answer.return === undefined && answer.error === undefined) return;
        this.#lines.off("line", look);
        if (answer.error) reject(new Error(answer.error.desc));
        else resolve();
      };
      this.#lines.on("line", look);
      this.#socket.once("close", () => reject(new Error("QEMU has ended")));
    });
    this.#socket.write(`${JSON.stringify({ execute })}\n`);
    await answered;
  }

  close(): void {
    this.#socket.destroy();
  }
}
