/** How a snapshot says that it is ours, and whose run it belongs to. */
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { isAlive, ownProcess, type ProcessIdentity } from "../../process-identity.ts";
import type { SnapshotNode } from "../../vmware/snapshots.ts";

/** Every snapshot of ours is called this and its run's ID; nobody else's is ever removed. */
export const snapshotNamePrefix = "migratekit-";

/** Who made a snapshot, from its description; enough to tell a dead run's from a live one's. */
export interface SnapshotOwner extends ProcessIdentity {
  readonly runId: string;
  readonly host: string;
}

/** Unique, so that a snapshot whose creation was interrupted is found again by it. */
export function snapshotName(runId: string): string {
  return `${snapshotNamePrefix}${runId}`;
}

/** For people, and read back by `snapshotOwner`. `startedAt` is ISO 8601. */
export function snapshotDescription(owner: SnapshotOwner, startedAt: string): string {
  const { runId, host, pid, bootId, startTicks } = owner;
  return (
    "Temporary snapshot of a migratekit run; removed by it, or by the next run.\n" +
    `run=${runId} host=${host} pid=${pid} boot=${bootId} ticks=${startTicks} started=${startedAt}`
  );
}

/** The owner of a snapshot of ours; undefined where it is not ours by name and description. */
export function snapshotOwner(snapshot: SnapshotNode): SnapshotOwner | undefined {
  if (!snapshot.name.startsWith(snapshotNamePrefix)) return undefined;
  const match = /run=(\S+) host=(\S+) pid=(\d+) boot=(\S*) ticks=(\d*) /.exec(snapshot.description);
  if (!match || match[1] !== snapshot.name.slice(snapshotNamePrefix.length)) return undefined;
  const [, runId = "", host = "", pid, bootId = "", startTicks = ""] = match;
  return { runId, host, pid: Number(pid), bootId, startTicks };
}

/** This process, as the owner of a snapshot that it makes. */
export function thisOwner(runId: string): SnapshotOwner {
  return { runId, host: hostId(), ...ownProcess() };
}

/** This machine: its name alone may be shared (containers, clones), so the machine ID goes with it. */
export function hostId(): string {
  const machine = readText("/etc/machine-id")?.trim().slice(0, 8) ?? "unknown";
  return `${hostname().replaceAll(/\s/g, "_")}/${machine}`;
}

/** True while the very process that made the snapshot lives; only told of this host's. */
export function ownerLives(owner: SnapshotOwner): boolean {
  return owner.host === hostId() && isAlive(owner) === "alive";
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
