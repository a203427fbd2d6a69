/** What the management server keeps of the cloud: plain records, sizes in bytes where nothing else is said. */

export type RoleType = "User" | "DomainAdmin" | "Admin";

/** Who owns a thing: an account of a domain, or a project. */
export interface Owner {
  readonly account: string;
  readonly domainId: string;
  readonly projectId?: string;
}

export interface AccountRecord {
  readonly id: string;
  readonly name: string;
  readonly domainId: string;
  readonly roleType: RoleType;
  readonly userId: string;
  readonly apiKey: string;
  readonly secretKey: string;
  /** Commands that its role does not have, besides those that only an administrator has. */
  deniedCommands: string[];
  state: "enabled" | "disabled" | "locked";
}

export interface DomainRecord {
  readonly id: string;
  readonly name: string;
  /** `ROOT/tenants` */
  readonly path: string;
}

export interface ProjectRecord {
  readonly id: string;
  readonly name: string;
  readonly domainId: string;
  /** Names of accounts of its domain. */
  readonly members: readonly string[];
}

export interface ZoneRecord {
  readonly id: string;
  readonly name: string;
  allocationState: "Enabled" | "Disabled";
}

export interface ServiceOfferingRecord {
  readonly id: string;
  readonly name: string;
  /** Absent numbers are given with each machine, within the limits where there are any. */
  readonly cpuNumber?: number;
  readonly cpuSpeedMHz?: number;
  readonly memoryMiB?: number;
  readonly limits?: {
    readonly cpuMin: number;
    readonly cpuMax: number;
    readonly memoryMin: number;
    readonly memoryMax: number;
  };
}

export interface DiskOfferingRecord {
  readonly id: string;
  readonly name: string;
  /** Absent: the size is given with each volume. */
  readonly sizeGiB?: number;
  /** Where its volumes lie. */
  readonly pool: PoolRecord;
}

export interface PoolRecord {
  readonly id: string;
  readonly name: string;
  readonly managed: boolean;
}

export interface OsTypeRecord {
  readonly id: string;
  readonly description: string;
  /** What a disk and a card of such a guest get where nothing else is said. */
  readonly diskController: DiskController;
  readonly nicAdapter: NicAdapter;
}

export type DiskController = "virtio" | "scsi" | "ide" | "sata";
export type NicAdapter = "virtio" | "e1000" | "rtl8139" | "vmxnet3";

export interface TemplateRecord {
  readonly id: string;
  readonly name: string;
  readonly osTypeId: string;
  readonly sizeBytes: number;
  readonly ready: boolean;
  /** Whose it is where it is not everybody's. */
  readonly owner?: Owner;
}

export interface NetworkRecord {
  readonly id: string;
  readonly name: string;
  readonly type: "Isolated" | "Shared" | "L2";
  /** `192.0.2.0/24`; absent with L2, where machines get no address. */
  readonly cidr?: string;
  readonly gateway?: string;
  readonly domainName: string;
  readonly owner?: Owner;
}

export interface NicRecord {
  readonly id: string;
  readonly networkId: string;
  readonly mac: string;
  readonly ip?: string;
}

export type InstanceState =
  | "Stopped"
  | "Starting"
  | "Running"
  | "Stopping"
  | "Destroyed"
  | "Expunging"
  | "Error";

export interface InstanceRecord {
  readonly id: string;
  readonly name: string;
  displayName: string;
  state: InstanceState;
  readonly owner: Owner;
  readonly zoneId: string;
  readonly templateId: string;
  readonly offeringId: string;
  readonly cpuNumber: number;
  readonly cpuSpeedMHz: number;
  readonly memoryMiB: number;
  details: Record<string, string>;
  osTypeId: string;
  readonly bootType: "BIOS" | "UEFI";
  readonly bootMode: "LEGACY" | "SECURE";
  readonly nics: readonly NicRecord[];
  /** ISO 8601 with an offset, as CloudStack prints it. */
  readonly created: string;
  /** The machine that exports the volumes: it runs elsewhere, and only its devices are seen here. */
  readonly isAppliance: boolean;
}

export type VolumeState = "Allocated" | "Creating" | "Ready" | "Destroy" | "Expunged";

export interface VolumeRecord {
  readonly id: string;
  name: string;
  state: VolumeState;
  type: "ROOT" | "DATADISK";
  readonly sizeBytes: number;
  instanceId: string | undefined;
  deviceId: number | undefined;
  attached: string | undefined;
  readonly offeringId: string;
  readonly pool: PoolRecord;
  readonly owner: Owner;
  readonly zoneId: string;
  readonly created: string;
  /** `machine`: came with a deployed machine, and goes with it. */
  readonly madeFor: "machine" | "itself";
  readonly snapshotId?: string;
}

export interface SnapshotRecord {
  readonly id: string;
  readonly name: string;
  state: "BackingUp" | "BackedUp";
  readonly volumeId: string;
  readonly volumeName: string;
  readonly volumeType: VolumeRecord["type"];
  readonly sizeBytes: number;
  readonly owner: Owner;
  readonly zoneId: string;
  readonly created: string;
}

export type ResourceType = "UserVm" | "Volume" | "Snapshot";

export interface TagRecord {
  readonly resourceType: ResourceType;
  readonly resourceId: string;
  readonly key: string;
  readonly value: string;
}

/** Most of each that an account may have; -1 is no limit. */
export interface ResourceLimits {
  user_vm: number;
  volume: number;
  snapshot: number;
  cpu: number;
  /** MiB */
  memory: number;
  /** GiB */
  primary_storage: number;
}

export const gibibyte = 1 << 30;

/** What a disk of this volume says as its serial: 20 characters are all that virtio has room for. */
export function serialOf(volumeId: string): string {
  return volumeId.replaceAll("-", "").slice(0, 20);
}

/** As CloudStack prints times: `2026-11-27T04:05:06+0000`. */
export function timeText(when = new Date()): string {
  return when.toISOString().replace(/\.\d+Z$/, "+0000");
}
