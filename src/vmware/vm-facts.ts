/** What the properties of a machine say by themselves: enough to judge whether it can be migrated. */

import { MigratekitError } from "../errors.ts";
import { oneLine } from "../text.ts";
import { boardOf, boardPaths, type VmBoard } from "./guest-hardware.ts";
import { readSnapshotTree, type SnapshotNode } from "./snapshots.ts";
import { readVirtualDisks, type VirtualDisk } from "./virtual-disk.ts";
import type { ObjectProperties } from "./wire/retrieve-properties.ts";
import { optionalBoolean, optionalText, protocolError, text } from "./wire/values.ts";

export type PowerState = "poweredOn" | "poweredOff" | "suspended";

export interface VmFacts {
  readonly moref: string;
  readonly name: string;
  readonly instanceUuid: string;
  /** 19 for `vmx-19`. */
  readonly hardwareVersion: number;
  readonly powerState: PowerState;
  readonly changeTrackingSupported: boolean;
  /** The machine's flag; each disk's own `changeId` says whether that disk is tracked. */
  readonly changeTrackingEnabled: boolean;
  readonly toolsRunning: boolean;
  readonly encrypted: boolean;
  readonly consolidationNeeded: boolean;
  readonly template: boolean;
  /** `connected`, or why the machine is out of reach: `disconnected`, `orphaned`, `inaccessible` … */
  readonly connectionState: string;
  readonly host: HostDetails;
  readonly hardware: VmBoard;
  readonly disks: VirtualDisk[];
  readonly snapshots: SnapshotNode[];
}

/** Each text is empty where the account may not read it. */
export interface HostDetails {
  readonly moref: string;
  readonly name: string;
  /** Of its ESXi: `8.0.3`. */
  readonly version: string;
  /** `connected`, `disconnected`, `notResponding` */
  readonly connectionState: string;
}

export const factPaths = {
  ...boardPaths,
  name: "name",
  instanceUuid: "config.instanceUuid",
  version: "config.version",
  template: "config.template",
  changeTrackingEnabled: "config.changeTrackingEnabled",
  keyId: "config.keyId",
  changeTrackingSupported: "capability.changeTrackingSupported",
  powerState: "runtime.powerState",
  connectionState: "runtime.connectionState",
  host: "runtime.host",
  consolidationNeeded: "runtime.consolidationNeeded",
  tools: "guest.toolsRunningStatus",
  snapshot: "snapshot",
} as const;

/**
 * Of the properties in `factPaths`; the host is asked apart.
 * @throws MigratekitError `vm-unsuitable` for a machine that is out of reach, `vsphere-protocol`; VimFault
 */
export function factsOf(vm: ObjectProperties): Omit<VmFacts, "host"> {
  const { moref } = vm.object;
  if (!vm.has(factPaths.instanceUuid) || !vm.has(factPaths.version)) throw inaccessible(vm);
  const name = text(vm.get(factPaths.name), "val");
  const flag = (path: string) => optionalBoolean(vm.get(path), "val") ?? false;
  return {
    moref,
    name,
    instanceUuid: text(vm.get(factPaths.instanceUuid), "val"),
    hardwareVersion: readHardwareVersion(text(vm.get(factPaths.version), "val")),
    powerState: powerStateOf(vm),
    changeTrackingSupported: flag(factPaths.changeTrackingSupported),
    changeTrackingEnabled: flag(factPaths.changeTrackingEnabled),
    toolsRunning: optionalText(vm.get(factPaths.tools), "val") === "guestToolsRunning",
    encrypted: vm.has(factPaths.keyId),
    consolidationNeeded: flag(factPaths.consolidationNeeded),
    template: flag(factPaths.template),
    connectionState: text(vm.get(factPaths.connectionState), "val"),
    hardware: boardOf(vm, name),
    disks: readVirtualDisks(vm.get(factPaths.devices)),
    snapshots: readSnapshotTree(vm.get(factPaths.snapshot)),
  };
}

/** @throws VimFault, MigratekitError `vsphere-protocol` */
export function powerStateOf(vm: ObjectProperties): PowerState {
  const state = text(vm.get(factPaths.powerState), "val");
  if (state === "poweredOn" || state === "poweredOff" || state === "suspended") return state;
  throw protocolError(`"${oneLine(state, 40)}" is no power state`);
}

export const hostPaths = [
  "name",
  "summary.config.product.version",
  "runtime.connectionState",
] as const;

/** Of the properties in `hostPaths`; undefined where the host may not be seen, or there is none. */
export function hostOf(moref: string, found: ObjectProperties | undefined): HostDetails {
  const [name, version, connectionState] = hostPaths.map((path) =>
    found?.has(path) ? text(found.get(path), "val") : "",
  );
  return { moref, name: name!, version: version!, connectionState: connectionState! };
}

/** Without its configuration file's content a machine has no `config`. */
function inaccessible(vm: ObjectProperties): MigratekitError {
  const { moref } = vm.object;
  vm.get(factPaths.instanceUuid); // throws the fault where the account may not read it
  const name = optionalText(vm.get(factPaths.name), "val") ?? moref;
  const state = optionalText(vm.get(factPaths.connectionState), "val") ?? "unknown";
  return new MigratekitError(
    "vm-unsuitable",
    `the configuration of "${oneLine(name, 100)}" cannot be read: its connection state is ${oneLine(state, 40)}`,
    { remedy: "Make the machine's host and datastore accessible first.", context: { vm: moref } },
  );
}

function readHardwareVersion(version: string): number {
  const number = /^vmx-(\d{1,4})$/.exec(version)?.[1];
  if (!number) throw protocolError(`"${oneLine(version, 40)}" is no virtual hardware version`);
  return Number(number);
}
