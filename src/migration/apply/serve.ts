/** Files as NBD exports, so that the copy engine reads and writes them as it does targets. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { MigratekitError, messageOf } from "../../errors.ts";
import { untilListening, type WorkFolder } from "../../guest/guest.ts";
import type { NbdEndpoint } from "../../nbd/copy-engine/copy-engine.ts";
import { stopProcess } from "../../stop-process.ts";
import { oneLine } from "../../text.ts";

/**
 * `overlay`: the top layer of a qcow2 file alone, what it leaves out being zero, read-only. `layers`: with all
 * that is under it.
 */
export interface ServedFile {
  readonly path: string;
  readonly as: "raw" | "overlay" | "layers";
  readonly writable: boolean;
}

export interface Server extends AsyncDisposable {
  readonly endpoint: NbdEndpoint;
}

const connectionsMax = 8;
let served = 0;

/**
 * Serves a file until disposed of; whoever clears the work folder ends it too.
 * @throws MigratekitError `guest-tool-missing`, `old-bytes-unkept`; the signal's reason
 */
export async function serveFile(
  work: WorkFolder,
  file: ServedFile,
  signal?: AbortSignal,
): Promise<Server> {
  const socket = join(work.path, `file-${++served}.sock`);
  const child = spawn("qemu-nbd", serverArguments(file, socket), {
    cwd: "/",
    detached: true,
    env: work.env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  if (child.pid === undefined) {
    const [error] = await once(child, "error");
    throw new MigratekitError("guest-tool-missing", `qemu-nbd cannot be run: ${messageOf(error)}`, {
      remedy: "Install qemu-nbd (apt-get install qemu-utils; on Enterprise Linux qemu-img).",
    });
  }
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-4_096);
  });
  const stop = async () => {
    await stopProcess(child);
    rmSync(socket, { force: true });
  };
  try {
    const problem = await untilListening(child, socket, signal);
    if (problem !== undefined) {
      throw new MigratekitError(
        "old-bytes-unkept",
        `qemu-nbd cannot serve ${file.path} (${problem}): ${oneLine(said)}`,
      );
    }
  } catch (error) {
    await stop();
    throw error;
  }
  const uri = `nbd+unix:///?socket=${encodeURIComponent(socket)}`;
  return { endpoint: { uri, connections: 1 }, [Symbol.asyncDispose]: stop };
}

function serverArguments({ path, as, writable }: ServedFile, socket: string): string[] {
  const common = ["-t", "-e", String(connectionsMax), "-k", socket];
  const image = as === "overlay" ? [topLayer(path)] : ["-f", as === "raw" ? "raw" : "qcow2", path];
  const access = writable ? ["--cache=writeback", "--discard=unmap"] : ["-r"];
  return [...common, ...access, ...image];
}

/** How QEMU names an overlay without what is under it. */
export function topLayer(path: string): string {
  const file = { driver: "file", filename: path };
  return `json:${JSON.stringify({ driver: "qcow2", file, backing: null })}`;
}
