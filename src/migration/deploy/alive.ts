/** Whether the new machine lives: by its state, an open port, or an answer on its network. */
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import type { Logger } from "pino";
import type { CloudStack, Instance } from "../../cloudstack/cloudstack.ts";
import { hasSystemCode, MigratekitError } from "../../errors.ts";
import type { AliveProbe } from "../../option-types.ts";
import { pause } from "../../retry.ts";
import { formatDuration, hostAndPort } from "../../text.ts";

export interface Alive {
  readonly instance: Instance;
  /** For people: `192.0.2.7:22 answers`. */
  readonly seen: string;
}

export interface AliveOptions {
  readonly probe: AliveProbe;
  readonly timeoutMs: number;
  readonly logger: Logger;
  readonly signal?: AbortSignal | undefined;
}

const pollMs = 1_000;
const connectTimeoutMs = 3_000;

/** @throws MigratekitError `instance-not-alive`, `cloudstack-…`; the signal's reason */
export async function awaitAlive(
  cloud: Pick<CloudStack, "instance">,
  instanceId: string,
  { probe, timeoutMs, logger, signal }: AliveOptions,
): Promise<Alive> {
  const deadlineMs = performance.now() + timeoutMs;
  for (let last = "it was not looked at yet"; ; ) {
    const instance = await cloud.instance(instanceId);
    const state = instance?.state ?? "Expunged";
    if (instance !== undefined && state === "Running") {
      const { seen, found } = await look(instance, probe);
      if (found) return { instance, seen };
      if (seen !== last) logger.info({ instance: instance.name }, seen);
      last = seen;
    } else if (state !== "Starting") {
      throw notAlive(`${instance?.name ?? instanceId} was started and is ${state} again`);
    }
    if (performance.now() >= deadlineMs) {
      const waited = formatDuration(timeoutMs / 1000);
      throw notAlive(
        `${instance?.name ?? instanceId} was not seen alive within ${waited}: ${last}`,
      );
    }
    await pause(pollMs, signal);
  }
}

function notAlive(message: string): MigratekitError {
  return new MigratekitError("instance-not-alive", message);
}

interface Sight {
  readonly found: boolean;
  readonly seen: string;
}

async function look(instance: Instance, probe: AliveProbe): Promise<Sight> {
  if (probe.kind === "state") return { found: true, seen: "CloudStack has it running" };
  const addresses = instance.nics.flatMap(({ ip }) => (ip === undefined ? [] : [ip]));
  if (probe.kind !== "tcp") return await lookForCard(instance, addresses);
  const hosts = probe.host === undefined ? addresses : [probe.host];
  if (hosts.length === 0) return { found: false, seen: "CloudStack knows no address of it" };
  const answers = await Promise.all(hosts.map((host) => isOpen(host, probe.port)));
  const open = answers.indexOf(true);
  const places = hosts.map((host) => hostAndPort(host, probe.port));
  if (open >= 0) return { found: true, seen: `${places[open]} answers` };
  return { found: false, seen: `${places.join(" and ")} did not answer` };
}

async function isOpen(host: string, port: number): Promise<boolean> {
  return (await knock(host, port)) === "open";
}

function knock(host: string, port: number): Promise<"open" | "refused" | "silent"> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: connectTimeoutMs });
    const end = (answer: "open" | "refused" | "silent") => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => end("open"));
    socket.once("timeout", () => end("silent"));
    socket.once("error", (error) =>
      end(hasSystemCode(error, "ECONNREFUSED") ? "refused" : "silent"),
    );
  });
}

/** The discard port: whether it is open does not matter, the kernel has to ask for the card to find out. */
const anyPort = 9;

async function lookForCard(instance: Instance, addresses: readonly string[]): Promise<Sight> {
  await Promise.all(addresses.map((address) => knock(address, anyPort)));
  const known = parseArpTable(readFileSync("/proc/net/arp", "utf8"));
  const card = instance.nics.find(({ mac }) => known.has(mac));
  if (card) return { found: true, seen: `${known.get(card.mac)} is the card ${card.mac}` };
  return { found: false, seen: `no card of it answers on the networks of this machine` };
}

/** MAC, in lower case, to address, of proc(5)'s table; those without an answer have no flags. */
export function parseArpTable(text: string): Map<string, string> {
  const entries = text
    .split("\n")
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , flags]) => flags !== undefined && (Number(flags) & 2) !== 0);
  return new Map(entries.map(([address = "", , , mac = ""]) => [mac.toLowerCase(), address]));
}
