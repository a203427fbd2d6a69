/** All records of the cloud, who may see which, and what must never be. */

import { ApiError, apiErrorCodes, permissionDenied } from "../api/api-error.ts";
import {
  type AccountRecord,
  gibibyte,
  type InstanceRecord,
  type Owner,
  type ResourceLimits,
  type SnapshotRecord,
  type TagRecord,
  type VolumeRecord,
} from "./records.ts";
import type { Catalogue } from "./seed.ts";

export interface CloudSettings {
  /** Data disks at one machine. [13] */
  dataVolumesMax: number;
  /** `allow.user.expunge.recover.vm` */
  usersMayExpunge: boolean;
  /** `allow.user.view.destroyed.vm` */
  usersSeeDestroyed: boolean;
  /** `user.vm.readonly.details` */
  readOnlyDetails: readonly string[];
  /** `user.vm.denied.details` */
  deniedDetails: readonly string[];
  /** `4.19.1.0` */
  version: string;
  /** `api.throttling.max` and its interval; absent: calls are not counted. */
  apiLimit: { readonly max: number; readonly intervalSeconds: number } | undefined;
  /** How long a host lets a device that is in use be detached. */
  detachTimeoutMs: number;
}

export class World {
  readonly catalogue: Catalogue;
  readonly settings: CloudSettings;
  readonly instances = new Map<string, InstanceRecord>();
  readonly volumes = new Map<string, VolumeRecord>();
  readonly snapshots = new Map<string, SnapshotRecord>();
  tags: TagRecord[] = [];
  readonly limits = new Map<string, ResourceLimits>();
  /** What must never happen, in words, as it happened. */
  readonly violations: string[] = [];

  constructor(catalogue: Catalogue, settings: CloudSettings) {
    this.catalogue = catalogue;
    this.settings = settings;
  }

  /** In the order of their devices. */
  volumesOf(instanceId: string): VolumeRecord[] {
    return [...this.volumes.values()]
      .filter((volume) => volume.instanceId === instanceId && volume.state !== "Expunged")
      .sort((a, b) => (a.deviceId ?? 0) - (b.deviceId ?? 0));
  }

  tagsOf(resourceId: string): TagRecord[] {
    return this.tags.filter((tag) => tag.resourceId === resourceId);
  }

  /** Machines that hold their name, cards and addresses: all that are not expunged. */
  get standing(): InstanceRecord[] {
    return [...this.instances.values()];
  }

  forget(instance: InstanceRecord): void {
    this.instances.delete(instance.id);
    this.tags = this.tags.filter(({ resourceId }) => resourceId !== instance.id);
  }

  owns(account: AccountRecord, owner: Owner): boolean {
    if (account.roleType === "Admin") return true;
    if (owner.projectId !== undefined) return this.isMember(account, owner.projectId);
    return owner.account === account.name && owner.domainId === account.domainId;
  }

  isMember(account: AccountRecord, projectId: string): boolean {
    const project = this.catalogue.projects.find(({ id }) => id === projectId);
    return project?.members.includes(account.name) ?? false;
  }

  /** @throws as a job words it where this is another's */
  checkOwned(account: AccountRecord, owner: Owner, what: string): void {
    if (!this.owns(account, owner)) throw permissionDenied(account.name, what);
  }

  /** In no one's name but the owner's: an administrator as well may not join what two accounts own. */
  checkSameOwner(one: Owner, other: Owner): void {
    const name = ({ account, domainId, projectId }: Owner) => projectId ?? `${domainId}/${account}`;
    if (name(one) !== name(other))
      throw new ApiError(
        apiErrorCodes.account,
        "The volume and the virtual machine do not belong to the same account",
      );
  }

  /** @throws 535 where the owner would have more than it may */
  checkLimit(owner: Owner, type: keyof ResourceLimits, wanted: number): void {
    const max = this.limitsOf(owner)[type];
    const used = this.usage(owner)[type];
    if (max >= 0 && used + wanted > max) throw limitExceeded(owner, type, { max, used, wanted });
  }

  limitsOf(owner: Owner): ResourceLimits {
    return this.limits.get(owner.projectId ?? owner.account) ?? this.limits.get("*")!;
  }

  usage(owner: Owner): ResourceLimits {
    const mine = (each: { owner: Owner }) =>
      (each.owner.projectId ?? each.owner.account) === (owner.projectId ?? owner.account);
    const machines = this.standing.filter(mine);
    const counted = machines.filter(({ state }) => state !== "Destroyed" && state !== "Expunging");
    const volumes = [...this.volumes.values()].filter(
      (volume) => mine(volume) && volume.state !== "Expunged" && volume.state !== "Destroy",
    );
    const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
    return {
      user_vm: counted.length,
      volume: volumes.length,
      snapshot: [...this.snapshots.values()].filter(mine).length,
      cpu: sum(counted.map(({ cpuNumber }) => cpuNumber)),
      memory: sum(counted.map(({ memoryMiB }) => memoryMiB)),
      primary_storage: Math.ceil(sum(volumes.map(({ sizeBytes }) => sizeBytes)) / gibibyte),
    };
  }
}

function limitExceeded(
  { account, domainId }: Owner,
  type: string,
  { max, used, wanted }: { max: number; used: number; wanted: number },
): ApiError {
  return new ApiError(
    apiErrorCodes.resourceAllocation,
    `Maximum amount of resources of Type = '${type}' for Account Name = '${account}' in Domain Id = ` +
      `'${domainId}' is exceeded: Account Resource Limit = ${max}, Current Account Resource Amount = ` +
      `${used}, Requested Resource Amount = ${wanted}.`,
  );
}
