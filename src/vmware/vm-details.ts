/** What a run needs to know about one virtual machine, and switching its change tracking on. */

import { MigratekitError } from "../errors.ts";
import { oneLine } from "../text.ts";
import { hardwarePaths, readHardware, type VmHardware } from "./guest-hardware.ts";
import { readSnapshotTree, type SnapshotNode } from "./snapshots.ts";
import { runTask } from "./tasks.ts";
import { readVirtualDisks, type VirtualDisk } from "./virtual-disk.ts";
import { type ObjectProperties, retrieveObject } from "./wire/retrieve-properties.ts";
import { argumentReference } from "./wire/soap-channel.ts";
import {
  optionalBoolean,
  optionalReference,
  optionalText,
  protocolError,
  text,
} from "./wire/values.ts";
import type { Session } from "./wire/wire.ts";

export type PowerState = "poweredOn" | "poweredOff" | "suspended";

export interface VmDetails {
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
  readonly hardware: VmHardware;
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

const paths = {
  ...hardwarePaths,
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
 * @throws MigratekitError `vm-unsuitable` for a machine that is out of reach, `vsphere-…`;
 * VimFault, EndpointError
 */
export async function readVm(session: Session, moref: string): Promise<VmDetails> {
  const vm = await retrieveObject(session, machine(moref), Object.values(paths));
  if (!vm.has(paths.instanceUuid) || !vm.has(paths.version)) throw inaccessible(vm, moref);
  const name = text(vm.get(paths.name), "val");
  return {
    moref,
    name,
    instanceUuid: text(vm.get(paths.instanceUuid), "val"),
    hardwareVersion: readHardwareVersion(text(vm.get(paths.version), "val")),
    powerState: toPowerState(text(vm.get(paths.powerState), "val")),
    changeTrackingSupported: optionalBoolean(vm.get(paths.changeTrackingSupported), "val") ?? false,
    changeTrackingEnabled: optionalBoolean(vm.get(paths.changeTrackingEnabled), "val") ?? false,
    toolsRunning: optionalText(vm.get(paths.tools), "val") === "guestToolsRunning",
    encrypted: vm.has(paths.keyId),
    consolidationNeeded: optionalBoolean(vm.get(paths.consolidationNeeded), "val") ?? false,
    template: optionalBoolean(vm.get(paths.template), "val") ?? false,
    connectionState: text(vm.get(paths.connectionState), "val"),
    host: await readHost(session, vm),
    hardware: await readHardware(session, vm, name),
    disks: readVirtualDisks(vm.get(paths.devices)),
    snapshots: readSnapshotTree(vm.get(paths.snapshot)),
  };
}

/** The disks as a snapshot keeps them: their `changeId` is the one to store after the copy. */
export async function readSnapshotDisks(session: Session, snapshotMoref: string) {
  const snapshot = { type: "VirtualMachineSnapshot", moref: snapshotMoref };
  const found = await retrieveObject(session, snapshot, [paths.devices]);
  return readVirtualDisks(found.get(paths.devices));
}

/** On a running machine it takes effect for a disk at the next snapshot, not before. */
export async function enableChangeTracking(session: Session, moref: string, signal?: AbortSignal) {
  const isEnabled = async () => {
    const path = paths.changeTrackingEnabled;
    const vm = await retrieveObject(session, machine(moref), [path]);
    return optionalBoolean(vm.get(path), "val") ? true : undefined;
  };
  await runTask(session, {
    operation: "ReconfigVM_Task",
    args: {
      _this: argumentReference("VirtualMachine", moref),
      spec: { changeTrackingEnabled: true },
    },
    vmMoref: moref,
    outcomeOf: () => true,
    lookUp: isEnabled,
    signal,
  });
  if (!(await isEnabled()))
    throw new MigratekitError(
      "cbt-unavailable",
      `${moref} accepted the change but its change tracking is still off`,
    );
}

/** Asked anew at each call. @throws VimFault, EndpointError, MigratekitError `vsphere-protocol` */
export async function readPowerState(session: Session, moref: string): Promise<PowerState> {
  const vm = await retrieveObject(session, machine(moref), [paths.powerState]);
  return toPowerState(text(vm.get(paths.powerState), "val"));
}

const hostPaths = ["name", "summary.config.product.version", "runtime.connectionState"] as const;

/** An account may be allowed to see the machine and not its host. */
async function readHost(session: Session, vm: ObjectProperties): Promise<HostDetails> {
  const host = optionalReference(vm.get(paths.host), "val");
  if (!host) return { moref: "", name: "", version: "", connectionState: "" };
  const found = await retrieveObject(session, { ...host, type: "HostSystem" }, [...hostPaths]);
  const [name, version, connectionState] = hostPaths.map((path) =>
    found.has(path) ? text(found.get(path), "val") : "",
  );
  return { moref: host.moref, name: name!, version: version!, connectionState: connectionState! };
}

/** Without its configuration file's content a machine has no `config`. */
function inaccessible(vm: ObjectProperties, moref: string): MigratekitError {
  vm.get(paths.instanceUuid); // throws the fault where the account may not read it
  const name = optionalText(vm.get(paths.name), "val") ?? moref;
  const state = optionalText(vm.get(paths.connectionState), "val") ?? "unknown";
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

function toPowerState(state: string): PowerState {
  if (state === "poweredOn" || state === "poweredOff" || state === "suspended") return state;
  throw protocolError(`"${oneLine(state, 40)}" is no power state`);
}

function machine(moref: string) {
  return { type: "VirtualMachine", moref } as const;
}
