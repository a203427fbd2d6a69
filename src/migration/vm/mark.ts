/**
 * The mark that a run leaves on its VM while it works: its snapshot, which every other runner sees,
 * whatever its state directory, user or appliance.
 */
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { MigratekitError } from "../../errors.ts";
import { ownProcess } from "../../process-identity.ts";
import type { SnapshotNode } from "../../vmware/snapshots.ts";

/** Every snapshot of ours is called this and its run's ID; nobody else's is ever removed. */
const namePrefix = "migratekit-";

/** Whose run a snapshot belongs to, as its description says; the texts are for people. */
export interface Mark {
  readonly snapshot: SnapshotNode;
  readonly runId: string;
  /** Host name and the beginning of its machine ID: clones of one image may share both. */
  readonly host: string;
  readonly pid: string;
  /** ISO 8601, by that host's clock. */
  readonly startedAt: string;
}

/** Unique, so that a snapshot whose creation was interrupted is found again by it. */
export function snapshotName(runId: string): string {
  return `${namePrefix}${runId}`;
}

/** Its second line is read by every version of migratekit: fields are only added at its end. */
export function snapshotDescription(runId: string, startedAt: string): string {
  const { pid, bootId, startTicks } = ownProcess();
  return (
    "Temporary snapshot of a migratekit run; removed by it, or by the next run.\n" +
    `run=${runId} host=${hostId()} pid=${pid} boot=${bootId} ticks=${startTicks} started=${startedAt}`
  );
}

function hostId(): string {
  return `${hostname().replaceAll(/\s/g, "_")}/${machineId()?.slice(0, 8) ?? "unknown"}`;
}

function machineId(): string | undefined {
  try {
    return readFileSync("/etc/machine-id", "utf8").trim();
  } catch {
    return undefined;
  }
}

/** The mark that a snapshot is; undefined where it is not ours by name and description. */
export function markOf(snapshot: SnapshotNode): Mark | undefined {
  if (!snapshot.name.startsWith(namePrefix)) return undefined;
  const match = /run=(\S+) host=(\S+) pid=(\d+) .*started=(\S+)/.exec(snapshot.description);
  if (!match || match[1] !== snapshot.name.slice(namePrefix.length)) return undefined;
  const [, runId = "", host = "", pid = "", startedAt = ""] = match;
  return { snapshot, runId, host, pid, startedAt };
}

/** What a mark says of its run, for an error or a list. */
export function describeMark({ snapshot, runId, host, pid, startedAt }: Mark): string {
  return `run ${runId} of process ${pid} on ${host}, started ${startedAt} (snapshot ${snapshot.moref})`;
}

/**
 * A run that is not known to be dead is alive as far as anybody here can tell: host name, boot and
 * process number identify no process on another machine, in a clone of this one or in a container.
 */
export function otherRun(vmName: string, other: Mark): MigratekitError {
  const { runId, host, pid, snapshot } = other;
  return new MigratekitError(
    "locked",
    `another run works on ${vmName}, or has died and left its snapshot: ${describeMark(other)}`,
    {
      remedy:
        `Wait until that run has ended. If it is dead for certain, remove its snapshot with ` +
        `'migratekit cleanup --foreign ${runId}'.`,
      context: { runId, host, pid: Number(pid), snapshot: snapshot.moref },
    },
  );
}

/**
 * Of two runs that made their snapshots at the same time the later one yields: the one whose snapshot
 * was taken on top of the other's. Gives the mark that ours has to yield to.
 * @param isOther whether a mark is that of a run which may be alive
 */
export function earlierMark(
  tree: readonly SnapshotNode[],
  ownMoref: string,
  isOther: (mark: Mark) => boolean,
): Mark | undefined {
  const others = (nodes: readonly SnapshotNode[]) =>
    nodes.map(markOf).filter((mark) => mark !== undefined && isOther(mark));
  return others(outsideOf(tree, ownMoref))[0];
}

/** Every snapshot but a given one and those taken on top of it. */
function outsideOf(nodes: readonly SnapshotNode[], moref: string): SnapshotNode[] {
  return nodes.flatMap((node) =>
    node.moref === moref ? [] : [node, ...outsideOf(node.children, moref)],
  );
}
