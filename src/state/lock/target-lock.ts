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
   * names, one gets them. @throws MigratekitError `locked`, naming the holder as far as it answers
   */
  async take(names: Iterable<string>): Promise<void> {
    for (const name of [...new Set(names)].sort()) {
      if (!this.#held.has(name)) this.#held.set(name, await this.#listen(name));
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

  async #listen(name: string): Promise<Server> {
    for (let attempt = 1; ; attempt++) {
      const server = createServer((socket) => {
        socket.on("error", () => {});
        socket.setTimeout(answerTimeoutMs, () => socket.destroy());
        socket.unref();
        socket.end(`${JSON.stringify(this.#holder)}\n`);
      }).unref();
      try {
        server.listen(socketName(name));
        await once(server, "listening");
        return server;
      } catch (error) {
        if (!hasSystemCode(error, "EADDRINUSE")) throw error;
      }
      const holder = await askHolder(name);
      if (holder === "gone" && attempt < attempts) await sleep(retryMs);
      else throw lockedTarget(name, holder === "gone" ? undefined : holder);
    }
  }
}

/** Who writes to a target now under one of these names; takes nothing. `unknown`: it does not answer. */
export async function findTargetHolder(
  names: Iterable<string>,
): Promise<TargetHolder | "unknown" | undefined> {
  for (const name of names) {
    const holder = await askHolder(name);
    if (holder !== "gone") return holder ?? "unknown";
  }
  return undefined;
}

/** Undefined: somebody holds it and does not say who. */
async function askHolder(name: string): Promise<TargetHolder | "gone" | undefined> {
  const socket = connect(socketName(name));
  socket.setTimeout(answerTimeoutMs, () => socket.destroy(new Error("no answer")));
  try {
    await once(socket, "connect");
    let text = "";
    for await (const chunk of socket.setEncoding("utf8")) {
      text += chunk;
      if (text.length > 65_536) return undefined;
    }
    return parseHolder(text);
  } catch (error) {
    return hasSystemCode(error, "ECONNREFUSED", "ENOENT") ? "gone" : undefined;
  } finally {
    socket.destroy();
  }
}

/** Another program may listen there: what it says is information, never trusted for more. */
function parseHolder(text: string): TargetHolder | undefined {
  try {
    const { pid, startedAt, vmPath } = JSON.parse(text);
    const known = Number.isSafeInteger(pid) && typeof startedAt === "string";
    return known && typeof vmPath === "string" ? { pid, startedAt, vmPath } : undefined;
  } catch {
    return undefined;
  }
}

/** One line without control characters, to follow "by" or a colon; at most 500 characters. */
export function holderText(holder: TargetHolder | "unknown" | undefined): string {
  if (holder === undefined || holder === "unknown") return "a process that does not say who it is";
  const text = `process ${holder.pid}, started ${holder.startedAt}, for ${holder.vmPath}`;
  return text.replaceAll(/\p{Cc}/gu, "\ufffd").slice(0, 500);
}

function lockedTarget(name: string, holder: TargetHolder | undefined): MigratekitError {
  return new MigratekitError(
    "locked",
    `another run on this host writes to the target ${name}: ${holderText(holder)}`,
    { context: holder && { pid: holder.pid, startedAt: holder.startedAt, vmPath: holder.vmPath } },
  );
}

/** Abstract: the NUL in front keeps it out of the file system. */
function socketName(name: string): string {
  return `\0migratekit-target-${createHash("sha256").update(name).digest("hex")}`;
}
