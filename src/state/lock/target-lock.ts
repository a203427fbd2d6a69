/** The right to write to a target, on the whole host: for other users and other state directories too. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type Server } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { hasSystemCode, MigratekitError } from "../../errors.ts";

/** What a holder tells about itself to whoever wants its target. */
export interface TargetHolder {
  readonly pid: number;
  /** ISO 8601 */
  readonly startedAt: string;
  readonly vmPath: string;
}

const answerTimeoutMs = 1000;
/** A holder that ends just now is waited for so often. */
const attempts = 4;
const retryMs = 50;

/**
 * Held names of targets, each an abstract Unix socket (unix(7)) that this process listens on: the
 * kernel takes it back with the process, however that ends. It holds between all processes of one
 * network namespace.
 */
export class TargetLocks implements AsyncDisposable {
  readonly #holder: TargetHolder;
  readonly #held = new Map<string, Server>();

  constructor(vmPath: string) {
    this.#holder = { pid: process.pid, startedAt: new Date().toISOString(), vmPath };
  }

  /**
   * Takes what of `names` is not held yet. One order for all processes: of two that want the same
   * names, one gets them. `passSilent`: what is held by a process that stands still is passed by, since its
   * right is known to be over.
   * @throws MigratekitError `locked`, naming the holder as far as it answers
   */
  async take(names: Iterable<string>, { passSilent = false } = {}): Promise<void> {
    for (const name of [...new Set(names)].sort()) {
      if (this.#held.has(name)) continue;
      const server = await this.#listen(name, passSilent);
      if (server) this.#held.set(name, server);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const servers = [...this.#held.values()];
    this.#held.clear();
    await Promise.all(
      servers.map(async (server) => {
        server.close();
        await once(server, "close");
      }),
    );
  }

  async #listen(name: string, passSilent: boolean): Promise<Server | undefined> {
    for (let attempt = 1; ; attempt++) {
      const server = createServer((socket) => {
        socket.on("error", () => {});
        socket.setTimeout(answerTimeoutMs, () => socket.destroy());
        socket.end(`${JSON.stringify(this.#holder)}\n`);
      }).unref();
      try {
        server.listen(socketName(name));
        await once(server, "listening");
        return server;
      } catch (error) {
        if (!hasSystemCode(error, "EADDRINUSE")) throw error;
      }
      const holder = await findTargetHolder(name);
      if (holder === "unknown" && passSilent) return undefined;
      if (holder !== undefined || attempt === attempts) throw lockedTarget(name, holder);
      await sleep(retryMs);
    }
  }
}

/** Who writes to a target under this name now, without taking it. `unknown`: it does not say who. */
export async function findTargetHolder(
  name: string,
): Promise<TargetHolder | "unknown" | undefined> {
  const socket = connect(socketName(name));
  socket.setTimeout(answerTimeoutMs, () => socket.destroy(new Error("no answer")));
  try {
    await once(socket, "connect");
    let text = "";
    for await (const chunk of socket.setEncoding("utf8")) {
      text += chunk;
      if (text.length > 65_536) return "unknown";
    }
    return parseHolder(text);
  } catch (error) {
    return hasSystemCode(error, "ECONNREFUSED") ? undefined : "unknown";
  } finally {
    socket.destroy();
  }
}

/** Another program may listen there: what it says is information, never trusted for more. */
function parseHolder(text: string): TargetHolder | "unknown" {
  try {
    const { pid, startedAt, vmPath } = JSON.parse(text);
    const known = Number.isSafeInteger(pid) && typeof startedAt === "string";
    return known && typeof vmPath === "string" ? { pid, startedAt, vmPath } : "unknown";
  } catch {
    return "unknown";
  }
}

/** `locked`, naming the holder as far as it is known. */
export function lockedTarget(
  name: string,
  holder: TargetHolder | "unknown" | undefined,
): MigratekitError {
  const known = typeof holder === "object" ? holder : undefined;
  const who =
    known === undefined
      ? "a process that does not say who it is"
      : `process ${known.pid}, started ${known.startedAt}, for ${known.vmPath}`;
  const shown = who.replaceAll(/\p{Cc}/gu, "\ufffd").slice(0, 500);
  return new MigratekitError(
    "locked",
    `another run on this host writes to the target ${name}: ${shown}`,
    { context: { ...known } },
  );
}

/** Abstract: the NUL in front keeps it out of the file system. */
function socketName(name: string): string {
  return `\0migratekit-target-${createHash("sha256").update(name).digest("hex")}`;
}
