/** One claimed VM, from its state to its ending. */
import type { Logger } from "pino";
import { type Config, endpointText } from "../../config.ts";
import { MigratekitError, messageOf } from "../../errors.ts";
import { openEngine } from "../../migration/engine.ts";
import type { CycleContext, Reporter } from "../../migration/vm/held-vm.ts";
import { HostConnections } from "../../migration/vm/host-connections.ts";
import { reportOnly } from "../../report-only.ts";
import type { FleetStore } from "../database/store.ts";
import type { FleetAction, Lease, RunOutcome } from "../fleet.ts";
import type { RunProgress } from "../status.ts";
import { HeldLease, type LeaseStore } from "./held-lease.ts";
import { outcomeOf } from "./outcome.ts";
import { fillRunDirectory, keepPin, makeRunDirectory } from "./state-of-run.ts";
import { configOf, type WorkerSettings } from "./vm-config.ts";
import type { LeasedStatus, WorkerWatch } from "./watch.ts";

/** What a run is done with: all of a context but who is told how far it is. */
export interface LeasedJob {
  readonly name: string;
  readonly action: FleetAction;
  readonly context: Omit<CycleContext, "reporter">;
  /** To be told of the reporter before anything else. */
  onReporter(reporter: Reporter): void;
  /** To be told the ending, as `--json` has it. */
  onEnding(ending: unknown): void;
}

export interface LeasedRunContext extends WorkerSettings {
  readonly store: LeaseStore & Pick<FleetStore, "pull" | "finish">;
  readonly logger: Logger;
  /** Aborted when the worker is to drain. */
  readonly signal: AbortSignal;
  readonly watch: WorkerWatch;
  /** Identity of every target that a VM of this worker writes to -> the VM's path. */
  readonly targets: Map<string, string>;
  /** Does the action. @throws as the command of its name */
  readonly perform: (job: LeasedJob) => Promise<void>;
}

/** Never rejects: whatever becomes of it is the fleet's to know, or the next owner's. */
export async function runLeased(context: LeasedRunContext, lease: Lease): Promise<LeasedStatus> {
  const logger = context.logger.child({ vm: lease.vm.name });
  try {
    return await underLease({ ...context, logger }, lease);
  } catch (error) {
    logger.error(`${lease.vm.name}: the fleet was not told how the run ended: ${messageOf(error)}`);
    if (!(error instanceof MigratekitError)) logger.error({ error });
    return "lost";
  }
}

async function underLease(context: LeasedRunContext, lease: Lease): Promise<LeasedStatus> {
  const { store, logger } = context;
  using directory = makeRunDirectory(context.config.stateDir);
  let reporter: Reporter | undefined;
  let ended = false;
  const progress = () => reporter && progressOf(reporter);
  await using held = new HeldLease(lease, {
    ...{
      store,
      stateDir: directory.path,
      logger,
      progress: () => (ended ? undefined : progress()),
    },
  });
  const { action } = lease;
  using _watched = context.watch.begin({ action, leaseLeftMs: () => held.leftMs, progress });
  if (lease.takenOver) logger.warn(`${lease.vm.name}: taken over from a worker that was lost`);
  let ending: unknown;
  let outcome: RunOutcome;
  try {
    await held.insist(() => held.renew());
    const config = planWithin(lease, configOf(lease, context, directory.path));
    checkSpelling(config, lease);
    // A pull that fails is not "no state".
    const bundle = await held.insist(() => store.pull(lease));
    fillRunDirectory(directory.path, bundle, placeOf(context, lease));
    held.ready();
    await perform(context, config, held, {
      onReporter: (given) => {
        reporter = given;
      },
      onEnding: (told) => {
        ending = told;
      },
    });
    outcome = outcomeOf({ ending });
  } catch (error) {
    outcome = outcomeOf({ error, ending });
  }
  ended = true;
  if (held.signal.aborted) return "lost";
  reportOnly(logger, "the endpoint's certificate is not remembered", () =>
    keepPin(directory.path, placeOf(context, lease)),
  );
  try {
    await held.insist(() => held.push());
    await held.end();
    const told = await held.insist(() => store.finish(lease, outcome));
    if (told) return outcome.status;
    logger.error(`${lease.vm.name}: another worker had the VM before its end was told`);
  } catch (error) {
    if (!held.signal.aborted) throw error;
  }
  return "lost";
}

function placeOf({ config }: WorkerSettings, { vm }: Lease) {
  return { stateDir: config.stateDir, endpoint: vm.endpoint };
}

/** What is known of the VM is kept under the plan's spelling: another one would find nothing. */
function checkSpelling(config: Config, { vm }: Lease): void {
  if (endpointText(config).toLowerCase() === vm.endpoint) return;
  throw new MigratekitError(
    "usage",
    `${vm.name}: the plan has it at ${vm.endpoint}, its settings at ${endpointText(config)}`,
  );
}

/** No run plans with more connections than the fleet's plan has for a host. */
function planWithin(lease: Lease, config: Config): Config {
  const hostConnections = Math.min(config.hostConnections, lease.hostConnections);
  return Object.freeze({ ...config, hostConnections });
}

async function perform(
  context: LeasedRunContext,
  config: Config,
  held: HeldLease,
  tell: Pick<LeasedJob, "onReporter" | "onEnding">,
): Promise<void> {
  const { logger, targets } = context;
  using _own = { [Symbol.dispose]: () => forget(targets, config.vmwarePath) };
  using engine = openEngine(config, logger, held);
  // The fleet counts the connections to a host; here each run has what it was given there.
  const hosts = new HostConnections(config.hostConnections, context.config.parallelVms);
  await context.perform({
    name: held.lease.vm.name,
    action: held.lease.action,
    context: {
      config,
      logger,
      lease: held,
      shared: { engine, hosts, targets },
      signal: AbortSignal.any([held.signal, held.stop, context.signal]),
    },
    ...tell,
  });
}

/** The next run may find the VM with other targets, and other VMs with these. */
function forget(targets: Map<string, string>, vmPath: string | undefined): void {
  for (const [identity, path] of targets) if (path === vmPath) targets.delete(identity);
}

function progressOf({ tracker }: Reporter): RunProgress {
  const { stage, total } = tracker.snapshot();
  return {
    stage,
    doneBytes: total.transferredBytes,
    plannedBytes: total.totalBytes,
    bytesPerSecond: Math.round(total.throughputBps),
  };
}
