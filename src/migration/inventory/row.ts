/** One VM of an inventory: an element of the JSON document, whose names and units are an interface. */

import type { InventoryVm } from "../../vmware/inventory/machines.ts";
import { flatten, type SnapshotNode } from "../../vmware/snapshots.ts";
import type { VirtualDisk } from "../../vmware/virtual-disk.ts";
import type { VmFacts } from "../../vmware/vm-facts.ts";
import type { Finding } from "../check/finding.ts";
import { diskIdOf } from "../vm/disks.ts";
import { markOf } from "../vm/mark.ts";
import { type Tracking, type TrackingSettings, trackingOf } from "../vm/suitable.ts";

export interface InventoryRow {
  readonly vm_path: string;
  readonly name: string;
  readonly moref: string;
  readonly instance_uuid?: string | undefined;
  /** vSphere's words: `poweredOn`, `poweredOff`, `suspended`. */
  readonly power_state?: string | undefined;
  /** `connected`, or why it is out of reach. */
  readonly connection_state?: string | undefined;
  readonly template?: boolean;
  readonly guest_id?: string | undefined;
  readonly guest_name?: string | undefined;
  readonly firmware?: "bios" | "uefi";
  readonly secure_boot?: boolean;
  readonly cpus?: number;
  readonly memory_bytes?: number;
  /** 19 for `vmx-19`. */
  readonly hardware_version?: number;
  readonly tools_running?: boolean;
  readonly encrypted?: boolean;
  /** Absent where the account may not see it. */
  readonly host?: string | undefined;
  readonly host_version?: string | undefined;
  readonly datastores: readonly string[];
  readonly disks: readonly InventoryDisk[];
  /** Capacity of all disks. */
  readonly disk_bytes: number;
  /** On its datastores, with snapshots and swap files. */
  readonly used_bytes?: number | undefined;
  readonly tracking?: Tracking;
  /** Parents before children. */
  readonly snapshots?: readonly InventorySnapshot[];
  /** It has a problem: a run of it would not start. */
  readonly blocked: boolean;
  /** Problems and warnings. */
  readonly findings: readonly Finding[];
}

export interface InventorySnapshot {
  readonly name: string;
  /** ISO 8601, UTC. */
  readonly created_at: string;
  /** A run of migratekit made it. */
  readonly own: boolean;
}

export interface InventoryDisk {
  readonly disk_id: string;
  readonly label: string;
  readonly capacity_bytes: number;
  readonly controller?: string | undefined;
  readonly bus?: number | undefined;
  readonly unit: number;
  readonly backing: VirtualDisk["backing"];
  readonly thin?: boolean | undefined;
  readonly mode: string;
  readonly sharing?: string | undefined;
  readonly encrypted?: boolean | undefined;
  readonly datastore?: string | undefined;
  readonly file: string;
  /** It has a change ID. */
  readonly tracked: boolean;
}

/** `pvscsi 0:1`; undefined where its controller is not known. */
export function busAddress({ controller, bus, unit }: InventoryDisk): string | undefined {
  return controller === undefined ? undefined : `${controller} ${bus}:${unit}`;
}

/** What is kept of a machine once its page is done with. */
export function rowOf(
  vm: InventoryVm,
  findings: readonly Finding[],
  settings: TrackingSettings,
): InventoryRow {
  const { facts } = vm;
  const known = facts instanceof Error ? undefined : facts;
  const row: InventoryRow = {
    vm_path: vm.path,
    name: vm.name ?? vm.moref,
    moref: vm.moref,
    power_state: vm.powerState,
    connection_state: vm.connectionState,
    guest_name: vm.guestName,
    used_bytes: vm.usedBytes,
    ...(known ? factsOfRow(known, settings) : {}),
    datastores: vm.datastores.map(({ name }) => name).sort(),
    disks: known?.disks.map(diskOfRow) ?? [],
    disk_bytes: known?.disks.reduce((sum, { capacityBytes }) => sum + capacityBytes, 0) ?? 0,
    blocked: findings.some(({ level }) => level === "problem"),
    findings: findings.filter(({ level }) => level !== "ok"),
  };
  // A string cut out of a page keeps the whole page in memory; one read anew does not.
  return JSON.parse(JSON.stringify(row)) as InventoryRow;
}

function factsOfRow(vm: VmFacts, settings: TrackingSettings) {
  const { hardware, host } = vm;
  return {
    instance_uuid: vm.instanceUuid,
    template: vm.template,
    guest_id: hardware.guestId,
    firmware: hardware.firmware,
    secure_boot: hardware.secureBoot,
    cpus: hardware.cpus,
    memory_bytes: hardware.memoryMiB * 2 ** 20,
    hardware_version: vm.hardwareVersion,
    tools_running: vm.toolsRunning,
    encrypted: vm.encrypted,
    host: host.name || undefined,
    host_version: host.version || undefined,
    tracking: trackingOf(vm, settings),
    snapshots: flatten(vm.snapshots).map(snapshotOfRow),
  };
}

function snapshotOfRow(snapshot: SnapshotNode): InventorySnapshot {
  const { name, createdAt } = snapshot;
  const at = new Date(createdAt);
  const created_at = Number.isNaN(at.getTime()) ? createdAt : at.toISOString();
  return { name, created_at, own: markOf(snapshot) !== undefined };
}

function diskOfRow(disk: VirtualDisk): InventoryDisk {
  return {
    disk_id: diskIdOf(disk),
    label: disk.label,
    capacity_bytes: disk.capacityBytes,
    controller: disk.controller?.kind,
    bus: disk.controller?.bus,
    unit: disk.unitNumber,
    backing: disk.backing,
    thin: disk.thin,
    mode: disk.diskMode,
    sharing: disk.sharing,
    encrypted: disk.encrypted,
    datastore: disk.datastore,
    file: disk.fileName,
    tracked: disk.changeId !== undefined,
  };
}
