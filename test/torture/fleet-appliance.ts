// A machine of its own for a worker, as far as the network goes: what processes hold against each other on one
// host (the names of targets, for one) does not reach into it. Its ways out are ports that the test listens at.

import { execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server } from "node:net";

const isRoot = process.getuid?.() === 0;

export interface Appliance extends Disposable {
  /** Starts a program in it. */
  readonly within: readonly string[];
  /** Listens there at 127.0.0.1, in the order of the ports. */
  readonly servers: readonly Server[];
}

export async function startAppliance(ports: readonly number[]): Promise<Appliance> {
  const child = fork(import.meta.filename, ports.map(String), {
    execPath: "unshare",
    execArgv: ["--net", ...(isRoot ? [] : ["--map-root-user"]), process.execPath],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const end = () => child.kill("SIGKILL");
  const servers: Server[] = [];
  while (servers.length < ports.length) {
    const message: unknown[] = await Promise.race([
      once(child, "message"),
      once(child, "exit").then(([code]) => {
        throw new Error(`a network namespace ended with ${code}`);
      }),
    ]);
    servers.push(message[1] as Server);
  }
  return {
    within: [
      ...["nsenter", "-t", String(child.pid), "-n"],
      ...(isRoot ? [] : ["-U", "--preserve-credentials"]),
    ],
    servers,
    [Symbol.dispose]: end,
  };
}

/** In the namespace: opens the ports and gives them to the test; then it is only there to keep it. */
async function openPorts(ports: readonly number[]): Promise<void> {
  execFileSync("ip", ["link", "set", "lo", "up"]);
  process.on("disconnect", () => process.exit());
  for (const port of ports) {
    const server = createServer();
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    await new Promise<void>((resolve) => {
      process.send!({ port }, server, undefined, () => resolve());
    });
    server.close();
  }
}

if (import.meta.main) await openPorts(process.argv.slice(2).map(Number));
