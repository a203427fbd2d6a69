/** What a run needs to know about one virtual machine, and switching its change tracking on. */

import { MigratekitError } from "../errors.ts";
import { guestNicsPath, readNics, type VmHardware } from "./guest-hardware.ts";
import { runTask } from "./tasks.ts";
import { readVirtualDisks } from "./virtual-disk.ts";
import {
  factPaths,
  factsOf,
  type HostDetails,
  hostOf,
  hostPaths,
  type PowerState,
  powerStateOf,
  type VmFacts,
} from "./vm-facts.ts";
import { type ObjectProperties, retrieveObject } from "./wire/retrieve-properties.ts";
import { argumentReference } from "./wire/soap-channel.ts";
import { optionalBoolean, optionalReference } from "./wire/values.ts";
import type { Session } from "./wire/wire.ts";

export type { HostDetails, PowerState } from "./vm-facts.ts";

export interface VmDetails extends VmFacts {
  readonly hardware: VmHardware;
}

/**
 * @throws MigratekitError `vm-unsuitable` for a machine that is out of reach, `vsphere-…`;
 * VimFault, EndpointError
 */
export async function readVm(session: Session, moref: string): Promise<VmDetails> {
  const paths = [...Object.values(factPaths), guestNicsPath];
  const vm = await retrieveObject(session, machine(moref), paths);
  const { hardware, ...facts } = factsOf(vm);
  const host = await readHost(session, vm);
  return { ...facts, host, hardware: { ...hardware, nics: await readNics(session, vm) } };
}

/** The disks as a snapshot keeps them: their `changeId` is the one to store after the copy. */
export async function readSnapshotDisks(session: Session, snapshotMoref: string) {
  const snapshot = { type: "VirtualMachineSnapshot", moref: snapshotMoref };
  const found = await retrieveObject(session, snapshot, [factPaths.devices]);
  return readVirtualDisks(found.get(factPaths.devices));
}

/** On a running machine it takes effect for a disk at the next snapshot, not before. */
export async function enableChangeTracking(session: Session, moref: string, signal?: AbortSignal) {
  const isEnabled = async () => {
    const path = factPaths.changeTrackingEnabled;
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
  const vm = await retrieveObject(session, machine(moref), [factPaths.powerState]);
  return powerStateOf(vm);
}

/** An account may be allowed to see the machine and not its host. */
async function readHost(session: Session, vm: ObjectProperties): Promise<HostDetails> {
  const host = optionalReference(vm.get(factPaths.host), "val");
  if (!host) return hostOf("", undefined);
  const asked = retrieveObject(session, { ...host, type: "HostSystem" }, hostPaths);
  return hostOf(host.moref, await asked);
}

function machine(moref: string) {
  return { type: "VirtualMachine", moref } as const;
}
