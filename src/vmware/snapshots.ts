/** Snapshots: creating, finding and removing exactly one. */

import { MigratekitError, messageOf } from "../errors.ts";
import { cancelTask, runTask, settle, waitForTask } from "./tasks.ts";
import { asMigratekitError, isVimFault, VimFault } from "./wire/faults.ts";
import { retrieveObject } from "./wire/retrieve-properties.ts";
import { argumentReference } from "./wire/soap-channel.ts";
import {
  list,
  optionalBoolean,
  optionalObject,
  protocolError,
  reference,
  text,
} from "./wire/values.ts";
import type { Session } from "./wire/wire.ts";

export interface SnapshotNode {
  readonly moref: string;
  readonly name: string;
  readonly description: string;
  /** As the endpoint writes it: ISO 8601. */
  readonly createdAt: string;
  readonly quiesced: boolean;
  readonly children: SnapshotNode[];
}

export interface SnapshotSpec {
  /** Must be unique on the machine: a snapshot whose task was lost is found again by it. */
  readonly name: string;
  readonly description: string;
  readonly quiesce: boolean;
}

export interface TaskOptions {
  readonly onProgress?: ((percent: number) => void) | undefined;
  readonly onTask?: ((taskMoref: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface RemoveOptions extends TaskOptions {
  /** Spares the question which machine the snapshot belongs to (hosts before API 6.0 cannot answer it). */
  readonly vmMoref?: string | undefined;
  /** Once it is aborted, another task in the way is waited for only a little longer. */
  readonly hurry?: AbortSignal | undefined;
}

/**
 * The machine's snapshots as trees, each with its children; empty where it has none.
 * @throws VimFault, EndpointError, MigratekitError `vsphere-protocol`
 */
export async function snapshotTree(session: Session, vmMoref: string): Promise<SnapshotNode[]> {
  const vm = await retrieveObject(session, machine(vmMoref), ["snapshot"]);
  return readSnapshotTree(vm.get("snapshot"));
}

/** The trees of a `VirtualMachineSnapshotInfo`; none when the machine has no snapshot. */
export function readSnapshotTree(property: unknown): SnapshotNode[] {
  return list(optionalObject(property, "val"), "rootSnapshotList").map(readNode);
}

/** All snapshots of a tree, parents before children. */
export function flatten(nodes: readonly SnapshotNode[]): SnapshotNode[] {
  return nodes.flatMap((node) => [node, ...flatten(node.children)]);
}

/**
 * One snapshot of all disks, without memory. When quiescing fails it is made without, with a warning.
 * An abort cancels the task; should the snapshot come to exist nevertheless, it is removed before rejecting.
 */
export async function createSnapshot(
  session: Session,
  vmMoref: string,
  spec: SnapshotSpec,
  options: TaskOptions,
): Promise<{ moref: string; quiesced: boolean }> {
  try {
    if (spec.quiesce) {
      const moref = await tryQuiesced(session, vmMoref, spec, options);
      if (moref) return { moref, quiesced: await wasQuiesced(session, vmMoref, moref) };
    }
    return { moref: await create(session, vmMoref, spec, false, options), quiesced: false };
  } catch (error) {
    throw asMigratekitError(error, `create a snapshot of ${vmMoref}`, "snapshot-failed");
  }
}

/**
 * Removes this snapshot and no other (`removeChildren=false`), merging its disks (`consolidate=true`).
 * One that is already gone counts as removed.
 */
export async function removeSnapshot(
  session: Session,
  snapshotMoref: string,
  options: RemoveOptions,
): Promise<{ consolidationNeeded: boolean }> {
  const what = `remove the snapshot ${snapshotMoref}`;
  try {
    const vmMoref = options.vmMoref ?? (await machineOfSnapshot(session, snapshotMoref));
    if (vmMoref === undefined) return { consolidationNeeded: false };
    await runRemoval(session, vmMoref, snapshotMoref, options);
    if (await exists(session, vmMoref, snapshotMoref))
      throw new MigratekitError("vsphere-task-failed", `cannot ${what}: it is still in the tree`);
    return { consolidationNeeded: await readConsolidationNeeded(session, vmMoref) };
  } catch (error) {
    throw asMigratekitError(error, what, "vsphere-task-failed");
  }
}

/** The moref, or `undefined` when this machine cannot be quiesced now. */
async function tryQuiesced(
  session: Session,
  vmMoref: string,
  spec: SnapshotSpec,
  options: TaskOptions,
): Promise<string | undefined> {
  try {
    return await create(session, vmMoref, spec, true, options);
  } catch (error) {
    if (!isQuiesceFailure(error)) throw error;
    session.logger.warn(
      { vmMoref, fault: error.fault },
      `The guest could not be quiesced; taking the snapshot without: ${error.message}`,
    );
    return undefined;
  }
}

/** Without running Tools a host ignores the wish for a quiesced snapshot and only the tree tells. */
async function wasQuiesced(session: Session, vmMoref: string, moref: string): Promise<boolean> {
  const all = flatten(await snapshotTree(session, vmMoref));
  if (all.some((node) => node.moref === moref && node.quiesced)) return true;
  session.logger.warn({ vmMoref }, "The snapshot was taken, but the guest was not quiesced");
  return false;
}

/** Faults by which hosts say that quiescing failed or is not possible; some only say it in words. */
function isQuiesceFailure(error: unknown): error is VimFault {
  if (!(error instanceof VimFault)) return false;
  if (/quiesc/i.test(error.fault) || /quiesc/i.test(error.message)) return true;
  return isVimFault(
    error,
    "ToolsUnavailable",
    "VmToolsUpgradeFault",
    "GuestOperationsUnavailable",
    "OperationNotSupportedByGuest",
    "SnapshotFault",
    "GenericVmConfigFault",
    "Timedout",
  );
}

async function create(
  session: Session,
  vmMoref: string,
  spec: SnapshotSpec,
  quiesce: boolean,
  options: TaskOptions,
): Promise<string> {
  return await runTask(session, {
    operation: "CreateSnapshot_Task",
    args: {
      _this: argumentReference("VirtualMachine", vmMoref),
      name: spec.name,
      description: spec.description,
      memory: false,
      quiesce,
    },
    vmMoref,
    outcomeOf: (result) => result?.moref ?? noResult(),
    lookUp: () => findByName(session, vmMoref, spec.name),
    isFinal: (fault) => quiesce && isQuiesceFailure(fault),
    onAbandoned: (task) => undo(session, vmMoref, spec.name, task),
    ...options,
  });
}

/** After an abort: no snapshot may stay behind that nobody knows of. */
async function undo(session: Session, vmMoref: string, name: string, taskMoref?: string) {
  try {
    if (taskMoref) {
      await cancelTask(session, taskMoref).catch(() => {}); // not every task can be cancelled
      await waitForTask(session, { type: "Task", moref: taskMoref }, {}).catch(() => {});
    }
    const lookUp = () => findByName(session, vmMoref, name);
    const moref = await settle(session, { vmMoref, lookUp });
    if (moref) await runRemoval(session, vmMoref, moref, { hurry: AbortSignal.abort() });
  } catch (error) {
    session.logger.warn(
      { vmMoref, snapshot: name },
      `An interrupted snapshot may have been left behind: ${messageOf(error)}`,
    );
  }
}

async function runRemoval(
  session: Session,
  vmMoref: string,
  snapshotMoref: string,
  options: Pick<RemoveOptions, keyof TaskOptions | "hurry">,
): Promise<void> {
  const removed = async () => ((await exists(session, vmMoref, snapshotMoref)) ? undefined : true);
  try {
    await runTask(session, {
      operation: "RemoveSnapshot_Task",
      args: {
        _this: argumentReference("VirtualMachineSnapshot", snapshotMoref),
        removeChildren: false,
        consolidate: true,
      },
      vmMoref,
      outcomeOf: () => true,
      lookUp: removed,
      ...options,
    });
  } catch (error) {
    // Somebody else removed it in the meantime, or the first attempt had done it after all.
    if (!isVimFault(error, "ManagedObjectNotFound")) throw error;
  }
}

async function findByName(session: Session, vmMoref: string, name: string) {
  const all = flatten(await snapshotTree(session, vmMoref));
  return all.find((node) => node.name === name)?.moref;
}

async function exists(session: Session, vmMoref: string, snapshotMoref: string): Promise<boolean> {
  const all = flatten(await snapshotTree(session, vmMoref));
  return all.some((node) => node.moref === snapshotMoref);
}

/** `undefined` when the snapshot is gone. */
async function machineOfSnapshot(session: Session, moref: string): Promise<string | undefined> {
  try {
    const snapshot = { type: "VirtualMachineSnapshot", moref };
    return reference((await retrieveObject(session, snapshot, ["vm"])).get("vm"), "val").moref;
  } catch (error) {
    if (isVimFault(error, "ManagedObjectNotFound")) return undefined;
    throw error;
  }
}

async function readConsolidationNeeded(session: Session, vmMoref: string): Promise<boolean> {
  const path = "runtime.consolidationNeeded";
  const needed = (await retrieveObject(session, machine(vmMoref), [path])).get(path);
  return optionalBoolean(needed, "val") ?? false;
}

function readNode(node: unknown): SnapshotNode {
  return {
    moref: reference(node, "snapshot").moref,
    name: text(node, "name"),
    description: text(node, "description"),
    createdAt: text(node, "createTime"),
    quiesced: optionalBoolean(node, "quiesced") ?? false,
    children: list(node, "childSnapshotList").map(readNode),
  };
}

function machine(moref: string) {
  return { type: "VirtualMachine", moref } as const;
}

function noResult(): never {
  throw protocolError("the task that created the snapshot does not say which one");
}
