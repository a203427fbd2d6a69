/**
 * A Unix socket at which a process listens as long as it lives, however it ends. A PID proves less:
 * another process may have it by now, and that of a container is not ours to see.
 */
import { once } from "node:events";
import { connect, createServer, type Server } from "node:net";
import { hasSystemCode } from "./errors.ts";

/** What fits into sockaddr_un on Linux, without the closing NUL. */
export const socketPathBytesMax = 107;

/** Keeps nobody waiting: who connects knows what he wanted to. Does not keep this process alive. */
export async function listenAt(path: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  server.unref().listen(path);
  await once(server, "listening");
  return server;
}

/** Whether a process listens at a Unix socket; `none`: the one that did has ended. */
export async function listenerAt(path: string): Promise<"some" | "none" | "missing"> {
  const socket = connect(path);
  try {
    await once(socket, "connect");
    return "some";
  } catch (error) {
    if (hasSystemCode(error, "ENOENT")) return "missing";
    // Anything else, such as a mark that may not be asked, is no proof of an end.
    return hasSystemCode(error, "ECONNREFUSED") ? "none" : "some";
  } finally {
    socket.destroy();
  }
}
