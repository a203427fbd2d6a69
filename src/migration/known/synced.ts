/** The targets of a known VM, looked at, held, and proved to hold one finished state of all its disks. */

import { MigratekitError } from "../../errors.ts";
import type { ExportInfo, NbdEndpoint } from "../../nbd/copy-engine/copy-engine.ts";
import { checkTargets } from "../../nbd/target/check.ts";
import { acceptedNoFlush, obstacleToFlush } from "../../nbd/target/flush.ts";
import { targetNames } from "../../nbd/target/names.ts";
import { parseTargets } from "../../nbd/target/target.ts";
import { prepareTargetTls, type TargetTls } from "../../nbd/target/tls.ts";
import { targetIdentity, uriOfIdentity } from "../../nbd/target/uri.ts";
import type { DiskRecord } from "../../state/disk-records.ts";
import { ownedByOther } from "../../state/targets.ts";
import type { UndoStack } from "../../undo.ts";
import { otherTarget } from "../cycle/decision.ts";
import { findForeignWrite } from "../cycle/guard.ts";
import type { CheckedTarget } from "../disk.ts";
import { asksForTls, tlsOptionsOf } from "../target-tls.ts";
import { holdTargets } from "../vm/ownership.ts";
import { isByHand, type KnownVm } from "./known.ts";

export interface SyncedDisk {
  readonly deviceKey: number;
  /** `disk-2000`; of targets given by hand `disk-0`, `disk-1` … */
  readonly diskId: string;
  /** Of the disk; of a target given by hand all of it. */
  readonly capacityBytes: number;
  readonly target: CheckedTarget;
  /** Absent for targets given by hand. */
  readonly record?: DiskRecord;
}

export interface SyncedDisks {
  /** The boot disk first. */
  readonly disks: readonly SyncedDisk[];
  /** For who reads targets of scheme nbds by other programs. */
  readonly tls: TargetTls["endpointFields"];
}

type Held = KnownVm & { readonly runId: string };

/** `takeOverTarget` is never asked for here: what belongs to another VM is left alone. */
const neverTaken = { takeOverTarget: false };

/**
 * @throws MigratekitError `not-in-sync` where a run was interrupted or brought only some disks,
 *   `target-mismatch` where a target is not what the last run left, `target-owned`, `locked`, `target-…`,
 *   `usage`; the signal's reason
 */
export async function findSyncedDisks(held: Held, undo: UndoStack): Promise<SyncedDisks> {
  const { identity, signal } = held;
  const wanted = isByHand(identity) ? givenDisks(held) : knownDisks(held);
  const tls = await prepareTargetTls(
    tlsOptionsOf(held),
    wanted.map(({ uri }) => uri),
  );
  undo.use("remove the gathered TLS files", tls);
  const disks = await look(held, wanted, tls);
  await holdTargets(
    { ...held, config: { ...held.config, ...neverTaken } },
    disks.map(({ deviceKey, target }) => ({ disk: { key: deviceKey }, target })),
  );
  for (const { target, record } of disks) {
    if (record === undefined) continue;
    const known = { target, record, storedChangeId: undefined, journal: undefined };
    const difference = await findForeignWrite(known, signal);
    if (difference !== undefined) throw new MigratekitError("target-mismatch", difference);
  }
  return { disks, tls: tls.endpointFields };
}

/**
 * Of targets given by hand nothing is kept before they are seen to be there and nobody's: a mistake in a URI
 * leaves no VM in the list. @throws as `findSyncedDisks`
 */
export async function lookAtGiven(held: KnownVm): Promise<void> {
  const { identity, state } = held;
  if (!isByHand(identity)) return;
  const wanted = givenDisks(held);
  const uris = wanted.map(({ uri }) => uri);
  await using tls = await prepareTargetTls(tlsOptionsOf(held), uris);
  for (const { deviceKey, target } of await look(held, wanted, tls)) {
    const named = { deviceKey, names: target.names.lasting };
    const owner = state.targets.findOtherOwner(identity, named);
    if (owner !== undefined) throw ownedByOther(named, owner);
  }
}

interface WantedDisk {
  readonly key: number;
  readonly label: string;
  /** 0: as much as the target has. */
  readonly capacityBytes: number;
  readonly uri: string;
  readonly record?: DiskRecord;
}

function givenDisks({ config }: KnownVm): WantedDisk[] {
  return config.disk!.map((uri, key) => ({ key, label: `--disk ${uri}`, capacityBytes: 0, uri }));
}

function knownDisks(held: Held): WantedDisk[] {
  const { config, identity, state } = held;
  const keys = syncedKeys(held);
  const given = config.nbdTargets === undefined ? undefined : parseTargets(config.nbdTargets);
  const tls = asksForTls(held);
  const disks = keys.map((key) => {
    const record = state.records.readDiskRecord(identity, key);
    const { targetUri, capacityBytes } = completeRecord(held, key, record);
    const uri = given?.get(key) ?? uriOfIdentity(targetUri, tls);
    return { key, label: `disk ${key}`, capacityBytes, uri, record: record! };
  });
  const boot = state.machines.readHardware(identity)?.bootDiskKey;
  return disks.toSorted((a, b) => Number(b.key === boot) - Number(a.key === boot) || a.key - b.key);
}

/**
 * The disks of the newest sync. Each run that did any copying since the last completed one left some disks
 * newer than others: together they are no state that the machine ever had.
 */
function syncedKeys({ identity, state, runId }: Held): number[] {
  const runs = state.runs.listRuns(identity, 500);
  for (const run of runs) {
    if (run.runId === runId || !["migrate", "cutover"].includes(run.command)) continue;
    if (run.status === "completed" && run.disks.length > 0) {
      return run.disks.map(({ deviceKey }) => deviceKey);
    }
    const dead = run.status === "running" || run.status === "died";
    if (!dead && run.disks.length === 0) continue;
    const how = dead ? "was interrupted" : "did not bring all disks";
    throw notInSync(`the run of ${run.startedAt} (${run.runId}) ${how}`);
  }
  throw notInSync(`no run of ${identity.vmPath} was completed`);
}

function completeRecord({ identity, state }: Held, key: number, record: DiskRecord | undefined) {
  const { targetUri, capacityBytes, unfinished } = record ?? {};
  const open = unfinished !== undefined || state.journals.openJournal(identity, key) !== undefined;
  if (open) throw notInSync(`the last copy of disk-${key} did not finish`);
  if (targetUri === undefined || capacityBytes === undefined) {
    throw notInSync(`nothing is known of the target of disk-${key}`);
  }
  return { targetUri, capacityBytes };
}

function notInSync(why: string): MigratekitError {
  return new MigratekitError("not-in-sync", `the targets hold no finished state of the VM: ${why}`);
}

async function look(
  { config, logger, signal }: KnownVm,
  wanted: readonly WantedDisk[],
  tls: TargetTls,
): Promise<SyncedDisk[]> {
  const endpointOf = (uri: string): NbdEndpoint => ({
    uri,
    ...tls.endpointFields,
    ...(config.targetConnections === undefined ? {} : { connections: config.targetConnections }),
  });
  const targets = wanted.map((disk) => ({ ...disk, endpoint: endpointOf(disk.uri) }));
  const infos = await checkTargets(targets, { logger, signal });
  const disks: SyncedDisk[] = [];
  for (const target of targets) {
    const info = infos.get(target.key)!;
    const obstacle = obstacleToFlush(target, info);
    if (obstacle && !config.acceptNoFlush) throw obstacle;
    if (obstacle) logger.warn(acceptedNoFlush(obstacle));
    disks.push(await toSynced(target, target.endpoint, info));
  }
  return disks;
}

async function toSynced(
  { key, capacityBytes, uri, record }: WantedDisk,
  endpoint: NbdEndpoint,
  info: ExportInfo,
): Promise<SyncedDisk> {
  const identity = targetIdentity(uri);
  const target = { endpoint, info, identity, names: await targetNames(uri) };
  const other = record?.targetUri && otherTarget(record.targetUri, target);
  if (other) {
    throw new MigratekitError("target-mismatch", `disk-${key}: ${other}`, {
      remedy: "Give the target of the last run with --nbd-targets, or none at all.",
    });
  }
  const diskId = `disk-${key}`;
  const bytes = capacityBytes || info.sizeBytes;
  return { deviceKey: key, diskId, capacityBytes: bytes, target, ...(record && { record }) };
}
