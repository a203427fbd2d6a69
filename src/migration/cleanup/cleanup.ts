/** What dead runs left behind: found, listed, removed. Nothing of a living run or of anybody else. */
import type { Logger } from "pino";
import { type Config, endpointText, requireSettings } from "../../config.ts";
import { MigratekitError, messageOf } from "../../errors.ts";
import { findNbdkitLeftovers, removeNbdkitLeftovers } from "../../nbd/nbdkit/leftovers.ts";
import { totalBytes } from "../../ranges.ts";
import { isVmLocked, VmLock } from "../../state/lock/lock.ts";
import { State } from "../../state/state.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import { formatBytes, formatDuration } from "../../text.ts";
import { UndoStack } from "../../undo.ts";
import type { VmDetails } from "../../vmware/vm-details.ts";
import type { VsphereClient } from "../../vmware/vmware.ts";
import { connectReadOnly } from "../check/endpoint.ts";
import { readMarks } from "../cycle/snapshot.ts";
import { diskIdOf } from "../vm/disks.ts";
import { type LocatedVm, locateVm } from "../vm/locate.ts";
import { describeMark, type Mark } from "../vm/mark.ts";

/** Part of `--json`. */
export interface Leftover {
  readonly kind: "snapshot" | "run" | "journal" | "nbdkit";
  readonly what: string;
  readonly outcome: "removed" | "would be removed" | "kept" | "failed";
  /** Why it is kept, or could not be removed. */
  readonly reason?: string;
}

export interface VmCleanup {
  readonly vm: string;
  /** Why nothing of this VM was looked at. */
  readonly skipped?: string;
  readonly leftovers: readonly Leftover[];
}

export interface CleanupSummary {
  readonly dry_run: boolean;
  /** Of this machine, whatever VM they were for. */
  readonly local: readonly Leftover[];
  readonly vms: readonly VmCleanup[];
}

export interface CleanupContext {
  readonly config: Config;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Before `--foreign all` removes anything. @throws MigratekitError `usage` for a no */
  readonly confirm: (question: string) => Promise<void>;
}

/**
 * One VM, or with `--all` every VM of the endpoint that the state knows.
 * @throws MigratekitError `usage`, `vsphere-…`, `state-unusable`; for a single VM `locked`
 */
export async function runCleanup(context: CleanupContext): Promise<CleanupSummary> {
  const { config, logger, signal } = context;
  requireSettings(config, "vmware-endpoint", "vmware-username", "vmware-password");
  if (!config.all) requireSettings(config, "vmware-path");
  await using undo = new UndoStack(logger);
  const state = config.dryRun ? State.openExisting(config.stateDir) : State.open(config.stateDir);
  if (state) undo.use("close the state database", state);
  const endpoint = endpointText(config);
  const pinned = state?.trust.readPin(endpoint);
  const client = await connectReadOnly(config, pinned, logger, signal, config.busyTimeout);
  undo.defer("end the vSphere session", () => client.close());
  if (client.certificate.trust === "first-use") {
    logger.warn(
      { endpoint, sha256: client.certificate.sha256 },
      "no run has remembered the endpoint's certificate yet, and it was not checked; " +
        "--vmware-thumbprint makes sure",
    );
  }
  const vms: VmCleanup[] = [];
  for (const wanted of wantedVms(config, state, client)) {
    signal.throwIfAborted();
    vms.push(await cleanVm(context, state, client, wanted));
  }
  return { dry_run: config.dryRun, local: await cleanLocal(context), vms };
}

type WantedVm = VmIdentity | { readonly vmPath: string };

function wantedVms(config: Config, state: State | undefined, { uuid }: VsphereClient): WantedVm[] {
  if (!config.all) return [{ vmPath: config.vmwarePath! }];
  const endpoint = endpointText(config);
  return (
    state?.listVmsAt({ endpoint, ...(uuid === undefined ? {} : { endpointUuid: uuid }) }) ?? []
  );
}

async function cleanVm(
  context: CleanupContext,
  state: State | undefined,
  client: VsphereClient,
  wanted: WantedVm,
): Promise<VmCleanup> {
  const { config, signal } = context;
  const { vmPath } = wanted;
  try {
    const found = await findWanted(context, state, client, wanted);
    if (found === undefined) {
      const skipped = "its endpoint shows no VM with its instance UUID any more";
      return { vm: vmPath, skipped, leftovers: [] };
    }
    const { vm, identity } = found;
    using held = holdVm(config, identity);
    const leftovers = await cleanHeldVm(context, state, client, vm, identity, held.holder);
    return { vm: vmPath, leftovers };
  } catch (error) {
    signal.throwIfAborted();
    if (!config.all || !(error instanceof MigratekitError)) throw error;
    return { vm: vmPath, skipped: error.message, leftovers: [] };
  }
}

async function findWanted(
  { config, logger }: CleanupContext,
  state: State | undefined,
  client: VsphereClient,
  wanted: WantedVm,
): Promise<LocatedVm | undefined> {
  if (!("instanceUuid" in wanted)) {
    const notice = (text: string) => logger.warn(text);
    return await locateVm(client, state, endpointText(config), wanted.vmPath, notice);
  }
  const moref = await client.findVmByUuid(wanted.instanceUuid);
  return moref === undefined ? undefined : { vm: await client.readVm(moref), identity: wanted };
}

/** A dry run takes no lock, so that it writes nothing; it looks whether somebody holds it. */
function holdVm(
  config: Config,
  identity: VmIdentity,
): Disposable & { readonly holder: { readonly token: string } | undefined } {
  if (!config.dryRun) {
    const lock = VmLock.acquire(config.stateDir, identity.instanceUuid, identity);
    return { holder: lock, [Symbol.dispose]: () => lock.release() };
  }
  const holder = isVmLocked(config.stateDir, identity.instanceUuid);
  if (holder === undefined) return { holder, [Symbol.dispose]: () => {} };
  throw new MigratekitError(
    "locked",
    `another run is working on ${identity.vmPath}: process ${holder.pid} on ${holder.host}`,
  );
}

async function cleanHeldVm(
  context: CleanupContext,
  state: State | undefined,
  client: VsphereClient,
  vm: VmDetails,
  identity: VmIdentity,
  holder: { readonly token: string } | undefined,
): Promise<Leftover[]> {
  const { config } = context;
  const runs = state?.runs;
  const withSnapshots = runs?.runsWithLeftoverSnapshots(identity, holder) ?? [];
  const deadRunIds = new Set(withSnapshots.map(({ runId }) => runId));
  const found = await removeSnapshots(context, client, vm, deadRunIds);
  if (!config.dryRun && !found.some(({ outcome }) => outcome === "failed")) {
    for (const runId of deadRunIds) runs?.finishSnapshot(runId);
  }
  for (const dead of runs?.deadRuns(identity, holder) ?? []) {
    if (!config.dryRun) runs?.finishRun(dead.runId, { status: "died" });
    found.push({
      kind: "run",
      what: `${dead.command} of ${dead.startedAt}, process ${dead.pid}`,
      outcome: config.dryRun ? "would be removed" : "removed",
      reason: "it died; the history keeps it as that",
    });
  }
  return [...found, ...(state ? cleanJournals(config, state, vm, identity) : [])];
}

async function removeSnapshots(
  context: CleanupContext,
  client: VsphereClient,
  vm: VmDetails,
  deadRunIds: ReadonlySet<string>,
): Promise<Leftover[]> {
  const { config, logger } = context;
  const { dead, others } = await readMarks({ client, vm }, deadRunIds);
  const chosen = others.filter(({ runId }) => ["all", runId].includes(config.foreign ?? ""));
  if (config.foreign !== undefined && config.foreign !== "all" && chosen.length === 0) {
    throw new MigratekitError(
      "usage",
      `--foreign: no snapshot of run ${config.foreign} is on ${vm.name}`,
    );
  }
  for (const mark of chosen) logger.warn(`${describeMark(mark)}: ${ageOf(mark)} old`);
  if (config.foreign === "all" && chosen.length > 0 && !config.dryRun) {
    const runs = chosen.map((mark) => `${describeMark(mark)}, ${ageOf(mark)} old`).join("; ");
    await context.confirm(`Snapshots on ${vm.name} of runs that may still work: ${runs}.`);
  }
  const kept = others.filter((mark) => !chosen.includes(mark));
  return [
    ...(await removeMarks(context, client, vm, [...dead, ...chosen])),
    ...kept.map((mark): Leftover => {
      const reason =
        `of ${describeMark(mark)}, ${ageOf(mark)} old, which may be alive; ` +
        `once it is dead for certain: --foreign ${mark.runId}`;
      return { kind: "snapshot", what: whatOf(mark), outcome: "kept", reason };
    }),
  ];
}

async function removeMarks(
  { config, signal }: CleanupContext,
  client: VsphereClient,
  vm: VmDetails,
  marks: readonly Mark[],
): Promise<Leftover[]> {
  const found: Leftover[] = [];
  for (const mark of marks) {
    const one = { kind: "snapshot", what: whatOf(mark) } as const;
    if (config.dryRun) {
      found.push({ ...one, outcome: "would be removed" });
      continue;
    }
    try {
      await client.removeSnapshot(mark.snapshot.moref, { vmMoref: vm.moref, signal });
      found.push({ ...one, outcome: "removed" });
    } catch (error) {
      signal.throwIfAborted();
      found.push({ ...one, outcome: "failed", reason: messageOf(error) });
    }
  }
  return found;
}

function whatOf({ snapshot }: Mark): string {
  return `${snapshot.name} (${snapshot.moref})`;
}

/** By vSphere's clock for the snapshot and ours for now. */
function ageOf({ snapshot }: Mark): string {
  const seconds = (Date.now() - Date.parse(snapshot.createdAt)) / 1000;
  return formatDuration(Math.max(0, seconds));
}

/** A journal spares the next run what was copied already: it is no rubbish while its disk exists. */
function cleanJournals(
  config: Config,
  state: State,
  vm: VmDetails,
  identity: VmIdentity,
): Leftover[] {
  const { journals, records } = state;
  const found: Leftover[] = [];
  for (const { deviceKey } of records.listDisks(identity)) {
    const journal = journals.openJournal(identity, deviceKey);
    if (journal === undefined) continue;
    const done = formatBytes(totalBytes(journal.finished));
    const what = `interrupted ${journal.mode} copy of ${diskIdOf({ key: deviceKey })}, ${done} done`;
    const diskIsGone = !vm.disks.some((disk) => disk.key === deviceKey);
    if (!diskIsGone && !config.discardJournals) {
      const reason = "the next run goes on from there; --discard-journals begins anew";
      found.push({ kind: "journal", what, outcome: "kept", reason });
      continue;
    }
    if (!config.dryRun) journals.discardJournal(identity, deviceKey);
    found.push({
      kind: "journal",
      what,
      outcome: config.dryRun ? "would be removed" : "removed",
      ...(diskIsGone ? { reason: "the VM no longer has this disk" } : {}),
    });
  }
  return found;
}

async function cleanLocal({ config, logger }: CleanupContext): Promise<Leftover[]> {
  const found = await findNbdkitLeftovers();
  if (config.dryRun) {
    return found.map((dir) => ({ kind: "nbdkit", what: dir, outcome: "would be removed" }));
  }
  const removed = await removeNbdkitLeftovers(logger);
  return [...new Set([...found, ...removed])].map((dir) =>
    removed.includes(dir)
      ? { kind: "nbdkit", what: dir, outcome: "removed" }
      : { kind: "nbdkit", what: dir, outcome: "kept", reason: "it is still served or in use" },
  );
}
