/**
 * How many disk connections one ESXi host serves at a time. Its NFC service has buffers for about 50;
 * past that it refuses, and other programs' backups with it. All VMs of a list share one budget.
 */
import type { Logger } from "pino";
import type { Config } from "../../config.ts";
import { defaultPort, parseNbdUri } from "../../nbd/target/uri.ts";
import type { UndoStack } from "../../undo.ts";
import type { RunLease } from "../lease.ts";
import type { Site } from "./site.ts";

/** What the engine may come to by measuring: 8 for a disk, 16 for a run, 4 to begin with. */
const autoDiskMax = 8;
const autoRunMax = 16;
const autoDiskStart = 4;

interface Waiting {
  readonly count: number;
  readonly grant: () => void;
}

export class HostConnections {
  readonly limit: number;
  /** What one VM plans with while it cannot know who else is on its host. */
  readonly fairShare: number;
  readonly #used = new Map<string, number>();
  readonly #queues = new Map<string, Waiting[]>();

  constructor(limit: number, parallelVms = 1) {
    this.limit = limit;
    this.fairShare = Math.max(1, Math.floor(limit / parallelVms));
  }

  /**
   * Takes `count` (at most `limit`) connections to `host`, first come first served; `onWait` is called
   * when there is a wait. Dispose of what it gives once they are closed. @throws the signal's reason
   */
  async acquire(
    host: string,
    count: number,
    options: { readonly signal: AbortSignal; onWait?(): void },
  ): Promise<Disposable> {
    const { signal } = options;
    signal.throwIfAborted();
    const queue = this.#queue(host);
    if (queue.length > 0 || !this.#fits(host, count)) {
      options.onWait?.();
      await this.#wait(host, queue, count, signal);
    } else {
      this.#add(host, count);
    }
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (held) this.#add(host, -count);
        held = false;
      },
    };
  }

  async #wait(host: string, queue: Waiting[], count: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const entry: Waiting = { count, grant: resolve };
    const giveUp = () => {
      const place = queue.indexOf(entry);
      if (place < 0) return; // granted at this moment
      queue.splice(place, 1);
      reject(signal.reason);
      // Whoever stood behind may fit now.
      this.#add(host, 0);
    };
    queue.push(entry);
    signal.addEventListener("abort", giveUp, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", giveUp);
    }
  }

  /** The count is taken in the name of those who are granted, so that nobody slips in between. */
  #add(host: string, count: number): void {
    this.#used.set(host, (this.#used.get(host) ?? 0) + count);
    const queue = this.#queue(host);
    while (queue[0] && this.#fits(host, queue[0].count)) {
      const next = queue.shift()!;
      this.#used.set(host, (this.#used.get(host) ?? 0) + next.count);
      next.grant();
    }
  }

  #fits(host: string, count: number): boolean {
    return (this.#used.get(host) ?? 0) + count <= this.limit;
  }

  #queue(host: string): Waiting[] {
    const queue = this.#queues.get(host) ?? [];
    this.#queues.set(host, queue);
    return queue;
  }
}

/** Whose disks are read, and over which host. */
export interface ConnectionContext {
  readonly config: Config;
  readonly site: Site;
  readonly shared?: { readonly hosts: HostConnections };
  readonly lease?: RunLease;
  readonly reporter: { stage(stage: "Discover", detail: string): void };
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** As much of a disk as says what its copy takes a part of. */
interface PlacedDisk {
  readonly disk: { readonly datastore?: string };
  readonly target: { readonly endpoint: { readonly uri: string } };
}

/**
 * As many connections as the VM's host has left for its disks; waits for them where others hold
 * them. They are given back when `undo` unwinds, after nbdkit has ended.
 * @throws MigratekitError `fleet-host-full`, `fleet-lease-lost`; the signal's reason
 */
export async function reserveConnections(
  { config, site, shared, lease, reporter, logger, signal }: ConnectionContext,
  disks: readonly PlacedDisk[],
  undo: UndoStack,
): Promise<ConnectionPlan> {
  const hosts = shared?.hosts ?? new HostConnections(config.hostConnections);
  const plan = planConnections(config, disks.length, hosts);
  const host = site.vm.host.name;
  const hostId = `${site.endpoint} ${site.vm.host.moref}`;
  await lease?.place({ host: hostId, units: plan.total, ...otherPlaces(site.endpoint, disks) });
  const held = await hosts.acquire(hostId, plan.total, {
    signal,
    onWait: () => {
      reporter.stage("Discover", `waiting for connections to ${host}`);
      logger.info({ host, connections: plan.total }, `waiting for connections to ${host}`);
    },
  });
  undo.use("give the host's connections back", held);
  logger.debug({ host, ...plan }, "connections to the host");
  return plan;
}

function otherPlaces(endpoint: string, disks: readonly PlacedDisk[]) {
  const datastores = disks.flatMap(({ disk: { datastore } }) => datastore ?? []);
  const servers = disks.map(({ target }) => parseNbdUri(target.endpoint.uri));
  const hosts = servers.flatMap(({ host, port = defaultPort }) => (host ? `${host}:${port}` : []));
  return {
    datastores: [...new Set(datastores)].map((name) => `${endpoint} ${name}`),
    targetServers: [...new Set(hosts)],
  };
}

export interface ConnectionPlan {
  /** At the most, over all disks copied at the same time. */
  readonly total: number;
  readonly parallelDisks: number;
  /** Of each disk; undefined: the engine measures. */
  readonly sourceConnections: number | undefined;
}

/** How a VM of so many disks stays within the budget; the operator's own numbers are kept if they can be. */
export function planConnections(
  config: Pick<Config, "parallelDisks" | "sourceConnections">,
  diskCount: number,
  hosts: { readonly limit: number; readonly fairShare: number },
): ConnectionPlan {
  const parallelDisks = Math.max(1, Math.min(config.parallelDisks, diskCount, hosts.limit));
  const fixed = (wanted: number, room: number) => {
    const each = Math.max(1, Math.min(wanted, Math.floor(room / parallelDisks)));
    return { total: each * parallelDisks, parallelDisks, sourceConnections: each };
  };
  if (config.sourceConnections !== undefined) return fixed(config.sourceConnections, hosts.limit);
  const autoMax = Math.max(
    autoDiskStart,
    Math.min(autoDiskMax, Math.floor(autoRunMax / parallelDisks)),
  );
  if (autoMax * parallelDisks > hosts.fairShare) return fixed(autoMax, hosts.fairShare);
  return { total: autoMax * parallelDisks, parallelDisks, sourceConnections: undefined };
}
