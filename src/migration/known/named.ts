import { type Config, endpointText } from "../../config.ts";
import type { State } from "../../state/state.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";

/** The VMs of the state that --vmware-endpoint and --vmware-path name; without either, all. */
export function namedVms(
  state: Pick<State, "listVms" | "listVmsAt">,
  config: Config,
): VmIdentity[] {
  const { vmwareEndpoint, vmwarePath } = config;
  const vms =
    vmwareEndpoint === undefined
      ? state.listVms()
      : state.listVmsAt({ endpoint: endpointText(config) });
  return vms.filter(({ vmPath }) => vmwarePath === undefined || vmPath === vmwarePath);
}
