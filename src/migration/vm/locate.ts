/** Which VM is meant: the one at the path, or the one that was there once and is known by its UUID. */
import { MigratekitError } from "../../errors.ts";
import type { State } from "../../state/state.ts";
import { normalEndpoint, type VmIdentity } from "../../state/vm-identity.ts";
import type { VmDetails } from "../../vmware/vm-details.ts";
import type { VsphereClient } from "../../vmware/vmware.ts";

export interface LocatedVm {
  readonly vm: VmDetails;
  readonly identity: VmIdentity;
}

/**
 * `state` is undefined where nothing was ever run; `notice` is told what differs from the last run.
 * @throws MigratekitError `vm-not-found`, `vsphere-…`
 */
export async function locateVm(
  client: VsphereClient,
  state: State | undefined,
  endpoint: string,
  vmPath: string,
  notice: (text: string) => void,
): Promise<LocatedVm> {
  const at = { endpoint, ...(client.uuid === undefined ? {} : { endpointUuid: client.uuid }) };
  const last = state?.listVmsAt(at).findLast((known) => known.vmPath === vmPath);
  const vm = await client.readVm(await findMoref(client, vmPath, last, notice));
  const identity = { ...at, instanceUuid: vm.instanceUuid, vmPath };
  if (last !== undefined && last.instanceUuid !== vm.instanceUuid.toLowerCase()) {
    notice(
      `another VM is at ${vmPath} than in the last run: its instance UUID is ${vm.instanceUuid}, ` +
        `that of the last run's VM is ${last.instanceUuid}`,
    );
  }
  noticeOtherAddress(state, identity, notice);
  return { vm, identity };
}

async function findMoref(
  client: VsphereClient,
  vmPath: string,
  last: VmIdentity | undefined,
  notice: (text: string) => void,
): Promise<string> {
  try {
    return await client.findVm(vmPath);
  } catch (error) {
    const gone = error instanceof MigratekitError && error.code === "vm-not-found";
    const found = gone && last ? await client.findVmByUuid(last.instanceUuid) : undefined;
    if (found === undefined) throw error;
    const path = (await client.readVmPath(found)) ?? found;
    notice(
      `the VM that was at ${vmPath} in the last run is at ${path} now, ` +
        `as its instance UUID ${last?.instanceUuid} says; --vmware-path may name either`,
    );
    return found;
  }
}

function noticeOtherAddress(
  state: State | undefined,
  identity: VmIdentity,
  notice: (text: string) => void,
): void {
  const endpoint = normalEndpoint(identity.endpoint);
  const known = state?.findKnownVm(identity);
  if (known !== undefined) {
    if (known.endpoint === endpoint) return;
    notice(
      `the VM was reached at ${known.endpoint} in the last run: what is known of it counts on`,
    );
    return;
  }
  const elsewhere = state?.listVms().findLast((vm) => vm.instanceUuid === identity.instanceUuid);
  if (elsewhere === undefined) return;
  notice(
    `a VM with this instance UUID is known at ${elsewhere.endpoint}, which is another endpoint than ` +
      `${endpoint}: what is known of it does not count here; to go on from there, give that endpoint`,
  );
}
