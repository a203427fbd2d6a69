/** Everything that a run needs, looked at together; nothing is changed, here or in vSphere. */
import type { Logger } from "pino";
import type { Config } from "../../config.ts";
import { inspectNbdkit, type NbdkitInspection } from "../../nbd/nbdkit/inspect.ts";
import { State } from "../../state/state.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import { UndoStack } from "../../undo.ts";
import type { VmDetails } from "../../vmware/vm-details.ts";
import type { VsphereClient } from "../../vmware/vmware.ts";
import { knownTargets } from "../vm/targets.ts";
import { checkDeploy } from "./deploy/deploy.ts";
import { findVm } from "./endpoint.ts";
import { judgeSpace, judgeVersions, judgeVm } from "./facts/facts.ts";
import { type Finding, inOrder, probe, problem, withoutRepeats } from "./finding.ts";
import { checkGuestTools } from "./guest.ts";
import { checkHost } from "./host.ts";
import {
  checkEngine,
  checkNbdkit,
  checkProgressApi,
  checkStateDir,
  checkTempDir,
  checkVddkConfig,
} from "./local.ts";
import { checkOwnership } from "./ownership.ts";
import { type DiskForecast, type Estimate, makePlan } from "./plan.ts";
import { checkPrivileges } from "./privileges.ts";
import { checkAllTargets } from "./targets.ts";
import { checkConverted, checkCutOver, checkLock, checkSnapshots } from "./vm.ts";

export interface PreflightContext {
  readonly config: Config;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

export interface Preflight {
  /** In the order in which a run would come upon them. */
  readonly findings: readonly Finding[];
  readonly disks: readonly DiskForecast[];
  readonly estimate?: Estimate;
}

/** Goes on after a problem, so that all are found at once. Rejects only with the signal's reason. */
export async function runPreflight(context: PreflightContext): Promise<Preflight> {
  const { config, logger, signal } = context;
  const undo = new UndoStack(logger);
  try {
    const opened = openState(config.stateDir, undo);
    const source = inspectSource(config, signal);
    const [remote, ...local] = await Promise.all([
      checkRemote(config, opened.state, source, undo, signal),
      probe("state", signal, () => checkStateDir(config.stateDir)),
      probe("source", signal, checkEngine),
      probe("source", signal, () => checkNbdkit(source, config.vddkLibdir)),
      probe("source", signal, () => checkVddkConfig(config.vddkConfig)),
      probe("source", signal, checkTempDir),
      probe("progress", signal, () => checkProgressApi(config.vmaUrl, config.jobId, signal)),
    ]);
    signal.throwIfAborted();
    const findings = inOrder([...opened.findings, ...local.flat(), ...remote.findings]);
    return { ...remote, findings: withoutRepeats(findings) };
  } finally {
    await undo.unwind();
  }
}

function inspectSource(config: Config, signal: AbortSignal): Promise<NbdkitInspection> {
  const { nbdkit, vddkPlugin: plugin, vddkLibdir: libdir } = config;
  const source = inspectNbdkit({ nbdkit, plugin, libdir, signal });
  source.catch(() => {}); // a finding of its own, wherever else it is waited for
  return source;
}

/** Undefined where there is none yet; it is not made. */
function openState(stateDir: string, undo: UndoStack) {
  try {
    const state = State.openExisting(stateDir);
    if (state) undo.use("close the state database", state);
    return { state, findings: [] };
  } catch (error) {
    return { state: undefined, findings: [problem("state", error)] };
  }
}

/** vSphere, and what depends on its answers: disks, targets, plan. */
async function checkRemote(
  config: Config,
  state: State | undefined,
  source: Promise<NbdkitInspection>,
  undo: UndoStack,
  signal: AbortSignal,
): Promise<Preflight> {
  const site = await findVm(config, state, undo, signal);
  const { client, vm, identity } = site;
  const known = state && identity && knownTargets(state, identity);
  const toCheck = { disks: vm?.disks, name: vm?.name, identity, known };
  const targets = checkAllTargets(config, toCheck, undo, signal).catch((error: unknown) => {
    signal.throwIfAborted();
    const area = config.cloudstackVolumes === undefined ? "target" : "cloudstack";
    return { findings: [problem(area, error)], targets: [] };
  });
  const deployed = checkDeploy(config, vm && identity && { details: vm, identity }, signal);
  const ofVm =
    client && vm && identity ? checkFoundVm(config, state, client, vm, identity, signal) : [];
  const versions = client && vm ? checkVersions(client, vm, source) : [];
  const found = await targets;
  const ofTargets = [...found.findings, ...(await deployed)];
  const findings = [...site.findings, ...(await ofVm), ...(await versions), ...ofTargets];
  findings.push(...(await probe("guest", signal, () => checkGuestTools(config, vm?.hardware))));
  if (!vm || !identity) return { findings, disks: [] };
  findings.push(...(await checkOwnership(found.targets, state, identity, config.takeOverTarget)));
  const plan = await makePlan({ config, vm, identity, state, signal }, found.targets);
  return { ...plan, findings: [...findings, ...plan.findings] };
}

/** Where VDDK could not be looked at, that is a finding, and nothing is said of its version. */
async function checkVersions(
  client: VsphereClient,
  vm: VmDetails,
  source: Promise<NbdkitInspection>,
): Promise<Finding[]> {
  const inspection = await source.catch(() => undefined);
  return judgeVersions(client.about, vm.host, inspection?.vddkLibraryVersion);
}

async function checkFoundVm(
  config: Config,
  state: State | undefined,
  client: VsphereClient,
  vm: VmDetails,
  identity: VmIdentity,
  signal: AbortSignal,
): Promise<Finding[]> {
  const skip = config.skipDisks ?? [];
  const findings = await Promise.all([
    probe("vm", signal, () => judgeVm(vm, config, skip)),
    probe("vm", signal, async () => judgeSpace(await client.readDatastores(vm.moref), config)),
    probe("vm", signal, () => checkSnapshots(client, vm, identity, config.stateDir, state)),
    probe("lock", signal, () => checkLock(config.stateDir, vm)),
    probe("vm", signal, () => checkCutOver(state, identity, config.reopen)),
    probe("vm", signal, () => checkConverted(state, identity, config.full || config.reopen)),
    probe("privileges", signal, () => checkPrivileges(client, vm, config)),
    probe("host", signal, () => checkHost(client, vm, config, signal)),
  ]);
  return findings.flat();
}
