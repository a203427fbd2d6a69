/**
 * `rehearse --cloudstack`: the converted guest on clones of the volumes, as a machine in an isolated network. The
 * VM's lock is held until the clones are made; syncs go on while the machine runs.
 */
import type { CloudStack, Instance } from "../../cloudstack/cloudstack.ts";
import { MigratekitError, messageOf } from "../../errors.ts";
import { convertGuest } from "../../guest/guest.ts";
import { volumeIdOf } from "../../nbd/target/volume.ts";
import { VmLock } from "../../state/lock/lock.ts";
import type { DeployedVolume } from "../../state/machine/deployments.ts";
import { State } from "../../state/state.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import { type UndoStack, withUndo } from "../../undo.ts";
import { serveFile } from "../apply/serve.ts";
import { openCloudStack } from "../cloud.ts";
import {
  awaitAlive,
  fillClone,
  planOrder,
  provideClone,
  requireFreeName,
  travel,
} from "../deploy/deploy.ts";
import { openEngine } from "../engine.ts";
import { conversionDocument } from "../known/document.ts";
import { hardwareOf } from "../known/hardware.ts";
import { withKnownVm } from "../known/known.ts";
import {
  type ConvertedOverlays,
  type ConvertingRun,
  withHeldGuestConverted,
} from "../known/on-overlays.ts";
import type { CycleContext } from "../vm/held-vm.ts";
import { volumeTags } from "../volumes/volumes.ts";
import type { RehearsalSummary, RehearsedInstance } from "./document.ts";
import { endRehearsal } from "./ended.ts";
import { forecastDowntime } from "./forecast.ts";
import { refuse } from "./refusal.ts";
import { outcomeOf } from "./verdict.ts";

type Context = Omit<CycleContext, "shared">;
type Order = Awaited<ReturnType<typeof planOrder>>;

/**
 * `onSummary` is told the result before anything is made an error of it. A machine that is not seen alive stays, to
 * be looked at, as one that is.
 * @throws MigratekitError `guest-will-not-boot`, `instance-not-alive`, `cloudstack-…`, `conversion-…`, `target-…`,
 *   `usage`, `locked`; the signal's reason
 */
export async function rehearseInCloudStack(
  context: Context,
  onSummary: (summary: RehearsalSummary) => void,
  convert: typeof convertGuest = convertGuest,
): Promise<RehearsalSummary> {
  const startedMs = performance.now();
  const { config, logger } = context;
  return await withUndo(logger, async (undo) => {
    const cloud = openCloudStack(context);
    const made = await withKnownVm(context, async (held) => {
      const { identity } = held;
      undo.use("release the rehearsal's lock", lockRehearsal(config.stateDir, identity));
      await endRehearsal({ ...held, cloud });
      const hardware = hardwareOf(held);
      const order = await planOrder(cloud, config, identity, hardware, (text) => logger.warn(text));
      requireIsolated(order);
      const name = `${order.name.slice(0, 63 - ending.length)}${ending}`;
      await requireFreeName({ cloud, order: { name } });
      const work = async (run: ConvertingRun, converted: ConvertedOverlays, inner: UndoStack) => {
        const summary = summaryOf(run, converted, startedMs);
        if (summary.verdict !== "converts") {
          onSummary(summary);
          refuse(summary);
        }
        await makeClones(cloud, { ...run, name }, converted, inner);
        return { identity, order, name, summary };
      };
      return await withHeldGuestConverted(held, work, convert);
    });
    using state = State.open(config.stateDir);
    const traveller = { cloud, identity: made.identity, state, logger };
    try {
      const instance = await start(context, traveller, made);
      const alive = await lookAlive(context, cloud, instance);
      const { until } = state.deployments.read(made.identity, "rehearsal")!;
      const summary = withInstance(made.summary, alive, until, startedMs);
      const { run_id: runId, verdict } = summary;
      state.rehearsals.write(made.identity, { runId, verdict, result: summary });
      onSummary(summary);
      if (alive.seen === undefined) throw alive.error;
      return summary;
    } catch (error) {
      const isSeen = error instanceof MigratekitError && error.code === "instance-not-alive";
      // What is half made helps nobody; the signal that ended it must not end that, too.
      if (!isSeen) await discard({ ...traveller, cloud: openCloudStack({ config, logger }) });
      throw error;
    }
  });
}

const ending = "-rehearsal";

/** Held while the machine is made or removed; the VM's own lock is free then. @throws MigratekitError `locked` */
export function lockRehearsal(stateDir: string, identity: VmIdentity): VmLock {
  return VmLock.acquire(stateDir, `${identity.instanceUuid}${ending}`, identity);
}

function requireIsolated({ networks }: Order): void {
  const shared = networks.find(({ type }) => type !== "Isolated");
  if (shared === undefined) return;
  throw new MigratekitError(
    "usage",
    `--network: ${shared.name} is a network of type ${shared.type}, where the machine would meet the one that it is a copy of`,
    { remedy: "Give an isolated network for every port group." },
  );
}

function summaryOf(
  { identity, runId, state }: ConvertingRun,
  { conversion }: ConvertedOverlays,
  startedMs: number,
): RehearsalSummary {
  const measured = { conversionMs: conversion.durationMs, startMs: undefined };
  return {
    vm: { path: identity.vmPath, instance_uuid: identity.instanceUuid },
    run_id: runId,
    ...outcomeOf(conversion, undefined),
    conversion: conversionDocument(conversion),
    forecast: forecastDowntime(state.runs.listRuns(identity, 500), measured),
    duration_ms: Math.round(performance.now() - startedMs),
  };
}

/** All volumes are noted before the first is filled, so that a kill leaves none that nobody knows. */
async function makeClones(
  cloud: CloudStack,
  run: ConvertingRun & { readonly name: string },
  { disks, overlays, work }: ConvertedOverlays,
  undo: UndoStack,
): Promise<void> {
  const { config, identity, state, logger, signal, runId, reporter, name: instanceName } = run;
  const { id: applianceId } = await cloud.appliance(config.cloudstackAppliance);
  const until =
    config.for === undefined ? undefined : new Date(Date.now() + config.for).toISOString();
  const tags = {
    [volumeTags.disk]: `rehearsal of ${identity.instanceUuid}`,
    "migratekit-until": until ?? "rehearse --end",
  };
  const clones = [];
  const volumes: DeployedVolume[] = [];
  const begun = { runId, applianceId, instanceName, ...(until !== undefined && { until }) };
  for (const { deviceKey, diskId, target } of disks) {
    const id = volumeIdOf(target.identity);
    const original = id === undefined ? undefined : await cloud.volume(id);
    if (original === undefined) {
      throw new MigratekitError(
        "usage",
        `${diskId}: the target ${target.identity} is no volume of CloudStack that this key may see`,
        { remedy: "Migrate with --cloudstack-volumes first." },
      );
    }
    const name = `migratekit-${identity.instanceUuid}-rehearsal-${deviceKey}`;
    const clone = await provideClone({ cloud, applianceId, logger }, original, { name, tags });
    clones.push(clone);
    volumes.push({ deviceKey, id: clone.id });
    state.deployments.begin(identity, "rehearsal", { ...begun, volumes });
  }
  reporter.stage("Transfer", "copying the converted guest to clones");
  const engine = undo.use("stop the copy engine", openEngine(config, logger));
  try {
    for (const [index, { target }] of disks.entries()) {
      const { path } = overlays[index]!;
      await using source = await serveFile(work, { path, as: "layers", writable: false }, signal);
      const context = { cloud, applianceId, engine, logger, signal };
      await fillClone(context, source.endpoint, target.endpoint, clones[index]!);
    }
  } catch (error) {
    await discard({ identity, state, logger, cloud: openCloudStack({ config, logger }) });
    throw error;
  }
}

interface Travelling {
  readonly cloud: CloudStack;
  readonly identity: VmIdentity;
  readonly state: Pick<State, "deployments">;
  readonly logger: Context["logger"];
}

/** Never rejects: what stays is told, and removed by `--end`. */
async function discard(traveller: Travelling): Promise<void> {
  await endRehearsal(traveller).catch((error: unknown) => {
    traveller.logger.error(
      `the rehearsal in CloudStack could not be removed: ${messageOf(error)}; 'migratekit rehearse --cloudstack --end' does it`,
    );
  });
}

async function start(
  { reporter }: Context,
  traveller: Travelling,
  made: { readonly order: Order; readonly name: string; readonly summary: RehearsalSummary },
): Promise<Instance> {
  const { order, name, summary } = made;
  const { instance } = await travel({
    ...{ ...traveller, purpose: "rehearsal" },
    onStep: (what) => reporter.stage("Finalize", what),
    order: async () => ({ ...order.complete(summary.conversion.hardware), name }),
  });
  const found = instance && (await traveller.cloud.instance(instance.id));
  if (found === undefined) throw new Error("there is no machine at the end of the way");
  return found;
}

interface Look {
  readonly instance: Instance;
  readonly seen?: string;
  readonly error?: unknown;
}

async function lookAlive(
  { config, logger, signal }: Context,
  cloud: CloudStack,
  instance: Instance,
): Promise<Look> {
  const options = { probe: config.alive, timeoutMs: config.aliveTimeout, logger, signal };
  try {
    return await awaitAlive(cloud, instance.id, options);
  } catch (error) {
    if (!(error instanceof MigratekitError) || error.code !== "instance-not-alive") throw error;
    return { instance: (await cloud.instance(instance.id)) ?? instance, error };
  }
}

function withInstance(
  summary: RehearsalSummary,
  { instance, seen, error }: Look,
  until: string | undefined,
  startedMs: number,
): RehearsalSummary {
  const { name, id, state, nics } = instance;
  const found: RehearsedInstance = {
    ...{ name, id, state, alive: seen ?? null },
    nics: nics.map(({ mac, ip }) => ({ mac, ...(ip !== undefined && { address: ip }) })),
    ...(until !== undefined && { until }),
  };
  return {
    ...summary,
    verdict: seen === undefined ? "unclear" : "boots",
    reason: seen ?? messageOf(error),
    instance: found,
    duration_ms: Math.round(performance.now() - startedMs),
  };
}
