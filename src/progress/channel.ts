/** A descriptor that the caller opened for us to write to. Whoever reads it slowly, or not at all, holds nothing up. */
import { fstatSync, readdirSync, readFileSync, readlinkSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import { MigratekitError } from "../errors.ts";

/** What is kept for a reader that is behind; later lines are dropped until it has caught up. */
const bufferedBytesMax = 1 << 20;

/** @throws MigratekitError `usage` for a descriptor that the caller did not open for writing */
export function openChannel(fd: number): (line: string) => void {
  const obstacle = obstacleTo(fd);
  if (obstacle !== undefined) {
    throw new MigratekitError("usage", `--progress json:${fd}: ${obstacle}`, {
      remedy: `Open it for the command: migratekit ... --progress json:${fd} ${fd}>FILE`,
    });
  }
  const stat = fstatSync(fd);
  if (stat.isFIFO() || stat.isSocket()) return pipeWriter(fd);
  return (line) => {
    try {
      writeSync(fd, line);
    } catch {
      // A full disk, a terminal that went away.
    }
  };
}

/** Never waits for the reader. */
function pipeWriter(fd: number): (line: string) => void {
  const socket = new Socket({ fd, readable: false, writable: true });
  socket.on("error", () => {});
  socket.unref();
  return (line) => {
    if (!socket.destroyed && socket.writableLength < bufferedBytesMax) socket.write(line);
  };
}

/** Why `fd` is not one that the caller meant; what Node has open for itself must not be written to. */
function obstacleTo(fd: number): string | undefined {
  const target = targetOf(fd);
  if (target === undefined) return `no descriptor ${fd} is open`;
  if (target.startsWith("anon_inode:") || !isWritable(fd)) return `${fd} is not open for writing`;
  const others = readdirSync("/proc/self/fd").map(Number);
  const ownPipe = others.some((other) => targetOf(other) === target && !isWritable(other));
  // Both ends of a pipe in one process: its own.
  return target.startsWith("pipe:") && ownPipe ? `no descriptor ${fd} was given` : undefined;
}

function targetOf(fd: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return undefined;
  }
}

function isWritable(fd: number): boolean {
  try {
    const flags = /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1];
    return (Number.parseInt(flags ?? "0", 8) & 3) !== 0;
  } catch {
    return false;
  }
}
