import type { CloudStack } from "../../../cloudstack/cloudstack.ts";
import type { Config } from "../../../config.ts";
import type { VmIdentity } from "../../../state/vm-identity.ts";
import type { VmDetails } from "../../../vmware/vm-details.ts";

export interface DeployContext {
  readonly config: Config;
  readonly cloud: CloudStack;
  /** As much as could be read of it. */
  readonly vm?: { readonly details: VmDetails; readonly identity: VmIdentity } | undefined;
}
