/** Everything that a run needs, looked at together; nothing is changed, here or in vSphere. */
import type { Logger } from "pino";
import { type Config, requireSettings } from "../../config.ts";
import { MigratekitError } from "../../errors.ts";
import { StateDatabase } from "../../state/database/database.ts";
import { isVmLocked } from "../../state/lock/lock.ts";
import { RunStore } from "../../state/runs.ts";
import { TrustStore } from "../../state/trust.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import type { VmDetails } from "../../vmware/vm-details.ts";
import type { VsphereClient } from "../../vmware/vmware.ts";
import { endpointText } from "../vm/site.ts";
import { UndoStack } from "../vm/undo.ts";
import { type Finding, inOrder, ok, probe, problem, warning, warningsOf } from "./finding.ts";
import {
  checkEngine,
  checkNbdkit,
  checkProgressApi,
  checkStateDir,
  checkTempDir,
  checkVddkConfig,
} from "./local.ts";
import { type Estimate, makePlan, type PlannedDisk } from "./plan.ts";
import { checkAllTargets } from "./targets.ts";
import {
  checkDisks,
  checkEndpoint,
  checkHost,
  checkPrivileges,
  checkVm,
  connectReadOnly,
} from "./vsphere.ts";

export interface PreflightContext {
  readonly config: Config;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

export interface Preflight {
  /** In the order in which a run would come upon them. */
  readonly findings: readonly Finding[];
  readonly disks: readonly PlannedDisk[];
  readonly estimate?: Estimate;
}

/** Goes on after a problem, so that all are found at once. Rejects only with the signal's reason. */
export async function runPreflight(context: PreflightContext): Promise<Preflight> {
  const { config, logger, signal } = context;
  const undo = new UndoStack(logger);
  try {
    const state = openState(config, undo);
    const [remote, ...local] = await Promise.all([
      checkRemote(context, state.database, undo),
      probe("state", signal, () => checkStateDir(config.stateDir)),
      probe("source", signal, checkEngine),
      probe("source", signal, () => checkNbdkit(config, signal)),
      probe("source", signal, () => checkVddkConfig(config)),
      probe("source", signal, checkTempDir),
      probe("progress", signal, () => checkProgressApi(config, signal)),
    ]);
    signal.throwIfAborted();
    const findings = inOrder([...state.findings, ...local.flat(), ...remote.findings]);
    return { ...remote, findings: withoutRepeats(findings) };
  } finally {
    await undo.unwind();
  }
}

/** Undefined where there is none yet; it is not made. */
function openState(config: Config, undo: UndoStack) {
  try {
    const database = StateDatabase.openExisting(config.stateDir);
    if (database) undo.use("close the state database", database);
    return { database, findings: [] };
  } catch (error) {
    return { database: undefined, findings: [problem("state", error)] };
  }
}

/** vSphere, and what depends on its answers: disks, targets, plan. */
async function checkRemote(
  context: PreflightContext,
  state: StateDatabase | undefined,
  undo: UndoStack,
): Promise<Preflight> {
  const { config, signal } = context;
  const site = await findVm(context, state, undo);
  const { client, vm, identity } = site;
  const skip = config.skipDisks ?? [];
  const targets = checkAllTargets(config, vm?.disks, skip, undo, signal).catch((error: unknown) => {
    signal.throwIfAborted();
    return { findings: [problem("target", error)], targets: [] };
  });
  const ofVm = client && vm ? checkFoundVm(context, state, client, vm, identity) : [];
  const found = await targets;
  const findings = [...site.findings, ...(await ofVm), ...found.findings];
  if (!vm || !identity) return { findings, disks: [] };
  const plan = await makePlan({ config, vm, identity, state, signal }, found.targets);
  return { ...plan, findings: [...findings, ...plan.findings] };
}

interface FoundVm {
  readonly findings: Finding[];
  readonly client?: VsphereClient;
  readonly vm?: VmDetails;
  readonly identity?: VmIdentity;
}

async function findVm(
  { config, signal }: PreflightContext,
  state: StateDatabase | undefined,
  undo: UndoStack,
): Promise<FoundVm> {
  const findings: Finding[] = [];
  const logger = warningsOf((message) =>
    findings.push(warning("vsphere", message, "Run again; if it stays, look at the endpoint.")),
  );
  let client: VsphereClient | undefined;
  try {
    const endpoint = endpointText(config);
    const pinned = state && new TrustStore(state).readPin(endpoint);
    const connected = await connectReadOnly(config, pinned, logger, signal);
    client = connected;
    undo.defer("end the vSphere session", () => connected.close());
    findings.push(...(await checkEndpoint(client, config)));
    requireSettings(config, "vmware-path");
    const vmPath = config.vmwarePath!;
    const vm = await client.readVm(await client.findVm(vmPath));
    return { findings, client, vm, identity: { endpoint, instanceUuid: vm.instanceUuid, vmPath } };
  } catch (error) {
    signal.throwIfAborted();
    findings.push(problem(areaOf(error), error));
    return { findings, ...(client === undefined ? {} : { client }) };
  }
}

function areaOf(error: unknown) {
  if (!(error instanceof MigratekitError)) return "vsphere";
  if (error.code === "usage") return "settings";
  return error.code === "vm-not-found" || error.code === "vm-unsuitable" ? "vm" : "vsphere";
}

async function checkFoundVm(
  { config, signal }: PreflightContext,
  state: StateDatabase | undefined,
  client: VsphereClient,
  vm: VmDetails,
  identity: VmIdentity | undefined,
): Promise<Finding[]> {
  const warnings: Finding[] = [];
  const logger = warningsOf((message) =>
    warnings.push(warning("vm", message, "Wait for that run, or look at it on its host.")),
  );
  const skip = config.skipDisks ?? [];
  const probes = [
    probe("vm", signal, () => {
      const holder = isVmLocked(config.stateDir, vm.instanceUuid);
      const runs = state && new RunStore(state);
      const dead = identity ? (runs?.runsWithLeftoverSnapshots(identity, holder) ?? []) : [];
      const deadRunIds = new Set(dead.map(({ runId }) => runId));
      return checkVm(client, vm, config, deadRunIds, logger);
    }),
    probe("lock", signal, () => checkLock(config, vm)),
    probe("disk", signal, () => [...checkSkipped(vm, skip), ...checkDisks(vm, skip)]),
    probe("privileges", signal, () => checkPrivileges(client, vm)),
    probe("host", signal, () => checkHost(client, vm, config, signal)),
  ];
  const findings = (await Promise.all(probes)).flat();
  return [...findings, ...warnings];
}

/** @throws MigratekitError `locked` */
function checkLock(config: Config, vm: VmDetails): Finding[] {
  const holder = isVmLocked(config.stateDir, vm.instanceUuid);
  if (holder === undefined) return [ok("lock", "no other run works on the VM")];
  const who =
    holder.pid === 0
      ? "a process that has not left its name"
      : `process ${holder.pid} on ${holder.host}, started ${holder.startedAt}`;
  throw new MigratekitError("locked", `another run is working on ${vm.name}: ${who}`, {
    context: { pid: holder.pid, host: holder.host },
  });
}

/** @throws MigratekitError `usage`, `vm-unsuitable`, as `selectDisks` does in a run */
function checkSkipped(vm: VmDetails, skip: readonly number[]): Finding[] {
  const keys = vm.disks.map((disk) => disk.key);
  const unknown = skip.filter((key) => !keys.includes(key));
  const found = unknown.map((key) =>
    problem(
      "disk",
      new MigratekitError("usage", `--skip-disks names ${key}, which the VM does not have`, {
        remedy: `Its disks are ${keys.join(", ")}.`,
      }),
    ),
  );
  if (keys.every((key) => skip.includes(key))) {
    found.push(
      problem("disk", new MigratekitError("vm-unsuitable", `${vm.name} has no disk to migrate`)),
    );
  }
  return found;
}

/** One cause that two probes met is one finding. */
function withoutRepeats(findings: readonly Finding[]): Finding[] {
  const seen = new Set<string>();
  return findings.filter(({ level, message }) => {
    if (seen.has(`${level} ${message}`)) return false;
    seen.add(`${level} ${message}`);
    return true;
  });
}
