// Run in a network namespace of its own: real servers, whose kernel lets go of silent connections soon, are
// asked by `fleet check-target`. Prints what it said of each, and what was seen meanwhile at the server, as JSON.

import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startDaemon, startForeground } from "../lab/process.ts";
import { startCli } from "../lab/run-cli.ts";
import { createVolume } from "../lab/targets.ts";
import { until } from "../until.ts";

/** Of this machine, but none of the loopback's. */
const address = "192.0.2.1";
const ports = { nbdServer: 10809, qemuNbd: 10810, overTls: 10811 };
/** Both kinds of connection are gone before that; TCP's own defaults would take much longer. */
const limit = ["--give-up-after", "20s"];
const keepalive = { time: 2, intvl: 1, probes: 2 };

const sh = (script: string) => execFileSync("/bin/sh", ["-ec", script], { encoding: "utf8" });

sh(`
  ip link set lo up; ip address add ${address}/32 dev lo
  cd /proc/sys/net/ipv4
  ${Object.entries(keepalive)
    .map(([name, value]) => `echo ${value} > tcp_keepalive_${name}`)
    .join("; ")}
  echo 4 > tcp_retries2`);

const folder = await mkdtemp(join(tmpdir(), "silent-client-"));
await using ended = new AsyncDisposableStack();
ended.defer(() => rm(folder, { recursive: true }));
await startServers();

const uriOf = (server: keyof typeof ports) =>
  `${server === "overTls" ? "nbds://mover@" : "nbd://"}${address}:${ports[server]}/a`;
const check = (args: readonly string[], onStderrLine?: (line: string) => void) =>
  startCli({
    args: ["fleet", "check-target", ...args],
    ...(onStderrLine && { onStderrLine }),
  });

// Somebody else's, who says nothing for as long.
const bystander = connect(ports.nbdServer, address);
await once(bystander, "data");
let bystanderLives = true;
bystander.on("close", () => {
  bystanderLives = false;
});

const found = Object.fromEntries(
  await Promise.all(
    (Object.keys(ports) as (keyof typeof ports)[]).map(
      async (server) => [server, await measured(server)] as const,
    ),
  ),
);
const here = await check([`nbd://127.0.0.1:${ports.nbdServer}/a`]).result;
const unprivileged = await startCli({
  args: ["fleet", "check-target", uriOf("nbdServer"), ...limit],
  within: ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"],
}).result;
console.log(
  JSON.stringify({
    ...found,
    ...{ here, unprivileged, bystanderLives, interrupted: await interrupted() },
  }),
);
bystander.destroy();

/** Connections as the server's kernel has them, the bystander's apart. */
function kept(server: keyof typeof ports): number {
  const lines = sh(`ss -tnH state established '( sport = ${ports[server]} )'`).trim().split("\n");
  return lines.filter((line) => line !== "" && !line.includes(`:${bystander.localPort}`)).length;
}

async function measured(server: keyof typeof ports) {
  const keptWhenTold: Record<string, number> = {};
  const tls = server === "overTls" ? ["--nbd-tls-psk-file", join(folder, "keys.psk")] : [];
  const run = check([uriOf(server), ...tls, ...limit, "--json"], (line) => {
    const [, when] = /"(idle|with an answer under way): \d/.exec(line) ?? [];
    if (when !== undefined) keptWhenTold[when] = kept(server);
  });
  const { stdout, stderr, code } = await run.result;
  return { code, document: stdout === "" ? {} : JSON.parse(stdout), keptWhenTold, stderr };
}

/** qemu-nbd would keep the idle one for good. */
async function interrupted() {
  const run = check([uriOf("qemuNbd"), "--give-up-after", "1h"]);
  await until("both connections are there", () => kept("qemuNbd") === 2);
  await sleep(500);
  run.child.kill("SIGINT");
  const { signal } = await run.result;
  await until("nothing is left at the server", () => kept("qemuNbd") === 0);
  return signal;
}

async function startServers(): Promise<void> {
  const path = (name: string) => join(folder, name);
  await createVolume(path("a"), 1 << 20);
  await writeFile(
    path("conf"),
    `[generic]\nport = ${ports.nbdServer}\nlistenaddr = ${address}\nallowlist = false\n[a]\nexportname = ${path("a")}\n`,
  );
  await writeFile(path("keys.psk"), "mover:b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0\n", { mode: 0o600 });
  const qemu = ["-f", "raw", "-x", "a", "-b", address, "-p", `${ports.qemuNbd}`, "-t", "-e", "8"];
  const nbdkit = ["-f", "-i", address, "-p", `${ports.overTls}`, "--tls=require"];
  const psk = [`--tls-psk=${path("keys.psk")}`, "file", path("a")];
  for (const group of [
    await startDaemon("nbd-server", ["-C", path("conf"), "-p", path("pid")], path("pid")),
    await startForeground("qemu-nbd", [...qemu, path("a")]),
    await startForeground("nbdkit", [...nbdkit, ...psk]),
  ]) {
    ended.adopt(group, (kept) => kept.kill());
  }
  await until("all listen", () => sh("ss -tlnH").trim().split("\n").length === 3);
}
