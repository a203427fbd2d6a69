/** Volumes: the disks of instances, attached or not. */

import { MigratekitError } from "../errors.ts";
import { Entry } from "./fields.ts";
import { type Step, underWay } from "./step.ts";
import type { Fields } from "./wire/answer.ts";

export interface Volume {
  readonly id: string;
  readonly name: string;
  /** Allocated (no device yet), Ready, Attaching, Destroy … */
  readonly state: string;
  readonly type: "ROOT" | "DATADISK";
  readonly sizeBytes: number;
  readonly account: string;
  readonly domainId?: string | undefined;
  readonly projectId?: string | undefined;
  readonly zoneId?: string | undefined;
  readonly diskOfferingId?: string | undefined;
  /** Where it is attached. */
  readonly instanceId?: string | undefined;
  readonly instanceName?: string | undefined;
  readonly deviceId?: number | undefined;
  /** The pool, where the key may see it: administrators may. */
  readonly storageId?: string | undefined;
  readonly storageName?: string | undefined;
  readonly hypervisor?: string | undefined;
  readonly tags: Readonly<Record<string, string>>;
}

export interface NewVolume {
  /** Found again by it: one name for one purpose, for ever. */
  readonly name: string;
  readonly sizeGiB: number;
  readonly diskOfferingId: string;
  readonly zoneId: string;
  readonly tags?: Readonly<Record<string, string>>;
}

export function volumeOf(fields: Fields): Volume {
  const entry = new Entry("a volume", fields);
  const type = entry.text("type");
  if (type !== "ROOT" && type !== "DATADISK")
    throw new MigratekitError("cloudstack-protocol", `CloudStack sent a volume of type ${type}`);
  return {
    id: entry.text("id"),
    name: entry.text("name"),
    state: entry.text("state"),
    type,
    sizeBytes: entry.integer("size"),
    account: entry.optionalText("account") ?? "",
    domainId: entry.optionalText("domainid"),
    projectId: entry.optionalText("projectid"),
    zoneId: entry.optionalText("zoneid"),
    diskOfferingId: entry.optionalText("diskofferingid"),
    instanceId: entry.optionalText("virtualmachineid"),
    instanceName: entry.optionalText("vmname"),
    deviceId: entry.optionalInteger("deviceid"),
    storageId: entry.optionalText("storageid"),
    storageName: entry.optionalText("storage"),
    hypervisor: entry.optionalText("hypervisor"),
    tags: entry.tags(),
  };
}

/** States in which a volume is as good as gone. */
export function isGone({ state }: Volume): boolean {
  return ["Destroy", "Expunging", "Expunged", "Destroying"].includes(state);
}

type Find = () => Promise<Volume | undefined>;

export function attachStep(
  find: Find,
  volumeId: string,
  instanceId: string,
  deviceId?: number,
): Step<Volume> {
  const place = deviceId === undefined ? "" : ` as device ${deviceId}`;
  const what = `attach volume ${volumeId} to instance ${instanceId}${place}`;
  return {
    what,
    command: "attachVolume",
    parameters: {
      id: volumeId,
      virtualmachineid: instanceId,
      ...(deviceId === undefined ? {} : { deviceid: String(deviceId) }),
    },
    look: async () => {
      const volume = await find();
      if (volume === undefined) throw gone(what, volumeId);
      if (["Attaching", "Creating", "Uploading", "Copying", "Migrating"].includes(volume.state))
        return underWay;
      if (volume.instanceId === undefined) return undefined;
      const elsewhere = volume.instanceId !== instanceId;
      const displaced = deviceId !== undefined && volume.deviceId !== deviceId;
      if (!elsewhere && !displaced) return volume;
      const { instanceName, instanceId: holder } = volume;
      throw new MigratekitError(
        "cloudstack-conflict",
        `could not ${what}: it is attached to ${instanceName ?? holder} (${holder}) as device ${volume.deviceId}`,
        { remedy: "Detach it there first, where nothing else needs it." },
      );
    },
  };
}

/** Gives the volume, attached nowhere; one that is attached to another instance than `from` is refused. */
export function detachStep(find: Find, volumeId: string, from?: string): Step<Volume> {
  const what = `detach volume ${volumeId}`;
  return {
    what,
    command: "detachVolume",
    parameters: { id: volumeId },
    look: async () => {
      const volume = await find();
      if (volume === undefined) throw gone(what, volumeId);
      const { instanceId, instanceName } = volume;
      if (volume.state === "Attaching") return underWay;
      if (instanceId === undefined) return volume;
      if (from === undefined || instanceId === from) return undefined;
      throw new MigratekitError(
        "cloudstack-conflict",
        `could not ${what} from ${from}: it is attached to ${instanceName ?? ""} (${instanceId})`,
      );
    },
  };
}

export function deleteStep(find: Find, volumeId: string): Step<true> {
  return {
    what: `delete volume ${volumeId}`,
    command: "deleteVolume",
    parameters: { id: volumeId },
    look: async () => {
      const volume = await find();
      return volume === undefined || isGone(volume) ? true : undefined;
    },
  };
}

function gone(what: string, volumeId: string): MigratekitError {
  return new MigratekitError(
    "cloudstack-not-found",
    `could not ${what}: there is no volume ${volumeId} that this key may see`,
  );
}
