/**
 * A machine made of the VM's volumes, or unmade, one step at a time: what is seen in CloudStack and the goal
 * decide what is next, so whoever comes next goes on wherever another ended. Pure.
 */
import type { Instance, Volume } from "../../cloudstack/cloudstack.ts";

/** What is there now. */
export interface Seen {
  /** The new machine; undefined: none, or one that is expunged. */
  readonly instance: Pick<Instance, "id" | "name" | "state"> | undefined;
  /** Ours, in their order; undefined: it is gone. */
  readonly volumes: readonly (SeenVolume | undefined)[];
  /** What else is attached to the new machine. */
  readonly others: readonly SeenVolume[];
  /** The root disk that it was made with is there, attached or not; undefined: not known, or gone. */
  readonly ownRootId: string | undefined;
}

export type SeenVolume = Pick<Volume, "id" | "type" | "instanceId" | "instanceName" | "deviceId">;

export type Step =
  | { readonly do: "detach"; readonly volumeId: string; readonly from: string }
  | {
      readonly do: "attach";
      readonly volumeId: string;
      readonly to: string;
      readonly deviceId?: number;
    }
  | { readonly do: "deploy" }
  /** Its own root, which has to make room for ours. */
  | { readonly do: "detach-own-root"; readonly volumeId: string; readonly from: string }
  | { readonly do: "delete"; readonly volumeId: string }
  | { readonly do: "start" | "stop" | "destroy"; readonly instanceId: string }
  | { readonly do: "nothing" };

/** What no step of ours mends: for people, a sentence without an end. */
export interface Obstacle {
  readonly obstacle: string;
}

export interface Route {
  readonly goal: "deploy" | "undo";
  readonly applianceId: string;
  readonly volumeIds: readonly string[];
  /** The volumes are clones: on the way back they are deleted. */
  readonly clones?: boolean;
}

export function nextStep(route: Route, seen: Seen): Step | Obstacle {
  if (route.clones && route.goal === "undo") return discard(route, seen);
  const lost = route.volumeIds.findIndex((_, at) => seen.volumes[at] === undefined);
  if (lost >= 0) return { obstacle: `the volume ${route.volumeIds[lost]} is gone` };
  const own = [route.applianceId, seen.instance?.id];
  const volumes = seen.volumes as readonly SeenVolume[];
  const strange = volumes.find(
    ({ instanceId }) => instanceId !== undefined && !own.includes(instanceId),
  );
  if (strange) {
    const { id, instanceName, instanceId } = strange;
    return {
      obstacle: `the volume ${id} is attached to ${instanceName ?? "an instance"} (${instanceId})`,
    };
  }
  return route.goal === "deploy" ? forward(route, seen, volumes) : back(route, seen, volumes);
}

const runningStates = ["Running", "Starting", "Migrating"];
const goneStates = ["Destroyed", "Expunging"];

/** Off the appliance, an empty machine, its own root out, ours in their order, on. */
function forward(
  { applianceId }: Route,
  { instance, others, ownRootId }: Seen,
  volumes: readonly SeenVolume[],
): Step | Obstacle {
  const waiting = volumes.find(({ instanceId }) => instanceId === applianceId);
  if (waiting) return { do: "detach", volumeId: waiting.id, from: applianceId };
  if (instance === undefined) return { do: "deploy" };
  const { id, name, state } = instance;
  const misplaced = findMisplaced(volumes, id);
  if (runningStates.includes(state)) {
    if (misplaced === undefined) return { do: "nothing" };
    return { obstacle: `${name} (${id}) was started before it had its volumes` };
  }
  if (state !== "Stopped") return { obstacle: `CloudStack has ${name} (${id}) in state ${state}` };
  const root = others.find(({ type }) => type === "ROOT");
  if (root) return { do: "detach-own-root", volumeId: root.id, from: id };
  if (ownRootId !== undefined) return { do: "delete", volumeId: ownRootId };
  if (misplaced === undefined) return { do: "start", instanceId: id };
  const { volume, isBoot, attached } = misplaced;
  if (attached) return { do: "detach", volumeId: volume.id, from: id };
  return { do: "attach", volumeId: volume.id, to: id, ...(isBoot && { deviceId: 0 }) };
}

/**
 * The first that is not where it belongs: the boot disk at 0, the others behind it in their order. Where a later
 * one is in its place already, that one comes off first.
 */
function findMisplaced(volumes: readonly SeenVolume[], instanceId: string) {
  let last = -1;
  for (const [at, volume] of volumes.entries()) {
    const isBoot = at === 0;
    const later = volumes.slice(at + 1).findLast((each) => each.instanceId === instanceId);
    if (volume.instanceId !== instanceId) {
      if (later) return { volume: later, isBoot: false, attached: true };
      return { volume, isBoot, attached: false };
    }
    const deviceId = volume.deviceId ?? -1;
    if (isBoot ? deviceId !== 0 : deviceId <= last) return { volume, isBoot, attached: true };
    last = deviceId;
  }
  return undefined;
}

/** Off, ours out of it, itself gone, ours at the appliance. */
function back(
  { applianceId }: Route,
  { instance, ownRootId }: Seen,
  volumes: readonly SeenVolume[],
): Step | Obstacle {
  if (instance !== undefined) {
    const { id, name, state } = instance;
    const held = volumes.findLast(({ instanceId }) => instanceId === id);
    if (goneStates.includes(state)) {
      if (held) {
        return {
          obstacle: `${name} (${id}) was destroyed with the volume ${held.id} in it; recover it in CloudStack`,
        };
      }
    } else if (state === "Stopped" || state === "Error") {
      if (held) return { do: "detach", volumeId: held.id, from: id };
      return { do: "destroy", instanceId: id };
    } else return { do: "stop", instanceId: id };
  }
  if (ownRootId !== undefined) return { do: "delete", volumeId: ownRootId };
  const away = volumes.find(({ instanceId }) => instanceId === undefined);
  if (away) return { do: "attach", volumeId: away.id, to: applianceId };
  return { do: "nothing" };
}

/** The same for clones: wherever one is, it is taken off and deleted; one that is gone is gone. */
function discard({ applianceId }: Route, seen: Seen): Step | Obstacle {
  const { instance, ownRootId } = seen;
  const clones = seen.volumes.filter((volume) => volume !== undefined);
  if (instance !== undefined && !goneStates.includes(instance.state)) {
    const { id, state } = instance;
    if (state !== "Stopped" && state !== "Error") return { do: "stop", instanceId: id };
    const held = clones.findLast(({ instanceId }) => instanceId === id);
    if (held) return { do: "detach", volumeId: held.id, from: id };
    return { do: "destroy", instanceId: id };
  }
  if (ownRootId !== undefined) return { do: "delete", volumeId: ownRootId };
  // What a machine was destroyed with goes with it.
  const next = clones.find(
    ({ instanceId }) => instanceId === undefined || instanceId !== instance?.id,
  );
  if (next === undefined) return { do: "nothing" };
  const { id, instanceId, instanceName } = next;
  if (instanceId === undefined) return { do: "delete", volumeId: id };
  if (instanceId === applianceId) return { do: "detach", volumeId: id, from: applianceId };
  return {
    obstacle: `the volume ${id} is attached to ${instanceName ?? "an instance"} (${instanceId})`,
  };
}
