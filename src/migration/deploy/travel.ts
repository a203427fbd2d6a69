/** The way to the new machine, or back from it: looks, takes the next step, and looks again. */
import type { Logger } from "pino";
import {
  type CloudStack,
  type Instance,
  isDestroyed,
  isGone,
  type NewInstance,
} from "../../cloudstack/cloudstack.ts";
import { MigratekitError } from "../../errors.ts";
import type { DeploymentPurpose, StoredDeployment } from "../../state/machine/deployments.ts";
import type { State } from "../../state/state.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import type { RunLease } from "../lease.ts";
import { nextStep, type Seen, type Step } from "./next-step.ts";

export interface Traveller {
  readonly cloud: CloudStack;
  readonly identity: VmIdentity;
  readonly state: Pick<State, "deployments">;
  readonly purpose: DeploymentPurpose;
  readonly logger: Logger;
  readonly lease?: RunLease;
  /** Told what is being done. */
  readonly onStep?: (what: string) => void;
  /** Of the machine; asked for only where it is to be made. */
  readonly order?: () => Promise<NewInstance>;
}

/** Far more than the way has with as many disks as CloudStack attaches. */
const stepsMax = 200;

/**
 * The stored goal is reached when this resolves; gives what is seen then.
 * @throws MigratekitError `cloudstack-…`, `state-unusable`; the signal's reason
 */
export async function travel(traveller: Traveller): Promise<Seen> {
  for (let steps = 0; steps < stepsMax; steps++) {
    const stored = readStored(traveller);
    const seen = await look(traveller, stored);
    const volumeIds = stored.volumes.map(({ id }) => id);
    const clones = traveller.purpose === "rehearsal";
    const step = nextStep({ ...stored, volumeIds, clones }, seen);
    if ("obstacle" in step) {
      throw new MigratekitError("cloudstack-conflict", step.obstacle, {
        remedy: "Put it right in CloudStack; then give the same command again, or go back.",
      });
    }
    if (step.do === "nothing") return seen;
    await take(traveller, stored, step);
  }
  throw new MigratekitError(
    "cloudstack-conflict",
    `${readStored(traveller).instanceName} did not come to its state in ${stepsMax} steps: somebody else works on it`,
  );
}

function readStored({ state, identity, purpose }: Traveller): StoredDeployment {
  const stored = state.deployments.read(identity, purpose);
  if (stored !== undefined) return stored;
  throw new Error(`there is no ${purpose} of ${identity.vmPath} under way`);
}

async function look(traveller: Traveller, stored: StoredDeployment): Promise<Seen> {
  const { cloud } = traveller;
  const instance = await findInstance(traveller, stored);
  const found = await Promise.all(stored.volumes.map(({ id }) => cloud.volume(id)));
  const volumes = found.map((volume) => (volume && !isGone(volume) ? volume : undefined));
  const inside = instance && !isDestroyed(instance) ? await cloud.volumesOf(instance.id) : [];
  const others = inside.filter((each) => !stored.volumes.some(({ id }) => id === each.id));
  const root = stored.ownRootId && (await cloud.volume(stored.ownRootId));
  const ownRootId = root && !isGone(root) ? root.id : undefined;
  return { instance, volumes, others, ownRootId };
}

/** By its name where the answer was lost that had its id; one of an earlier cutover may still wait to be expunged. */
async function findInstance(
  { cloud, state, identity, purpose }: Traveller,
  { instanceId, instanceName }: StoredDeployment,
): Promise<Instance | undefined> {
  if (instanceId !== undefined) return await cloud.instance(instanceId);
  const named = await cloud.findInstance(instanceName);
  if (named === undefined || isDestroyed(named)) return undefined;
  state.deployments.learn(identity, purpose, { instanceId: named.id });
  return named;
}

async function take(traveller: Traveller, stored: StoredDeployment, step: Step): Promise<void> {
  const { cloud, state, identity, purpose, logger, lease, onStep } = traveller;
  const { instanceName, volumes } = stored;
  const learn = (news: Parameters<typeof state.deployments.learn>[2]) =>
    state.deployments.learn(identity, purpose, news);
  const what = textOf(step, stored);
  logger.info({ step: step.do, instance: instanceName }, what);
  onStep?.(what);
  // Without a machine it cannot be told from anybody's.
  if (step.do === "detach-own-root") learn({ ownRootId: step.volumeId });
  if (step.do === "start") learn({ started: true });
  await lease?.barrier(what);
  switch (step.do) {
    case "detach":
      await cloud.detachVolume(step.volumeId, step.from);
      return;
    case "attach":
      await cloud.attachVolume(step.volumeId, step.to, step.deviceId);
      return;
    case "deploy": {
      if (traveller.order === undefined) throw new Error("a machine is missing on the way back");
      const { id } = await cloud.deployInstance(await traveller.order());
      learn({ instanceId: id });
      return;
    }
    case "detach-own-root":
      await cloud.detachVolume(step.volumeId, step.from);
      return;
    case "delete":
      if (purpose === "cutover" && volumes.some(({ id }) => id === step.volumeId)) {
        throw new Error(`${step.volumeId} is a volume of ${identity.vmPath}`);
      }
      await cloud.deleteVolume(step.volumeId);
      return;
    case "start":
      await cloud.startInstance(step.instanceId);
      return;
    case "stop":
      // Never by force: that calls off a machine that nobody has asked.
      await cloud.stopInstance(step.instanceId);
      return;
    case "destroy":
      await destroy(traveller, stored, step.instanceId);
  }
}

/** Its root goes with it: looked at once more right before that. */
async function destroy(
  { cloud }: Traveller,
  { volumes }: StoredDeployment,
  instanceId: string,
): Promise<void> {
  const inside = await cloud.volumesOf(instanceId);
  const ours = inside.find((each) => volumes.some(({ id }) => id === each.id));
  if (ours) {
    throw new MigratekitError(
      "cloudstack-conflict",
      `the instance ${instanceId} is not destroyed with the volume ${ours.id} in it`,
    );
  }
  const { mayExpunge } = await cloud.capabilities();
  await cloud.destroyInstance(instanceId, { expunge: mayExpunge });
}

function textOf(step: Step, { instanceName, applianceId, volumes }: StoredDeployment): string {
  const place = (id: string) => (id === applianceId ? "the appliance" : instanceName);
  const disk = (id: string) => {
    const key = volumes.find((each) => each.id === id)?.deviceKey;
    return key === undefined ? `volume ${id}` : `the volume of disk-${key}`;
  };
  switch (step.do) {
    case "detach":
      return `detaching ${disk(step.volumeId)} from ${place(step.from)}`;
    case "attach":
      return `attaching ${disk(step.volumeId)} to ${place(step.to)}`;
    case "deploy":
      return `deploying ${instanceName} in CloudStack, without starting it`;
    case "detach-own-root":
      return `detaching the root disk that ${instanceName} was made with`;
    case "delete":
      return volumes.some(({ id }) => id === step.volumeId)
        ? `deleting ${disk(step.volumeId)}`
        : `deleting the root disk that ${instanceName} was made with`;
    case "start":
      return `starting ${instanceName} in CloudStack`;
    case "stop":
      return `stopping ${instanceName} in CloudStack`;
    case "destroy":
      return `destroying ${instanceName} in CloudStack`;
    default:
      return "";
  }
}
