/** The network of a guest that is tried: a socket at which everything is heard and nothing answered. */
import { createServer, type Socket } from "node:net";
import { FrameCutter, type Heard, readFrame } from "./ethernet.ts";

export interface Lan extends AsyncDisposable {
  readonly heard: readonly Heard[];
}

/** Different things that are kept; a guest may send what it likes. */
const heardMost = 256;

export interface LanOptions {
  readonly socket: string;
  /** Whether what is heard now counts. */
  readonly counts: (heard: Heard) => boolean;
}

export async function listenToLan({ socket, counts }: LanOptions): Promise<Lan> {
  const heard: Heard[] = [];
  const known = new Set<string>();
  const note = (one: Heard) => {
    const key = JSON.stringify(one);
    if (known.has(key) || known.size >= heardMost || !counts(one)) return;
    known.add(key);
    heard.push(one);
  };
  const cards = new Set<Socket>();
  const server = createServer((card) => {
    cards.add(card);
    const cutter = new FrameCutter();
    card.on("error", () => {});
    card.on("close", () => cards.delete(card));
    card.on("data", (chunk: Buffer) => {
      try {
        for (const frame of cutter.push(chunk)) {
          const found = readFrame(frame);
          if (found) note(found);
        }
      } catch {
        card.destroy(); // out of step
      }
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(socket, resolve);
  });
  const close = () => {
    for (const card of cards) card.destroy();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  };
  return { heard, [Symbol.asyncDispose]: close };
}
