/** What we mend ourselves after virt-v2v: each small, each only where it is needed, each told. */
import type { Repair } from "../conversion.ts";
import type { RepairContext } from "./context.ts";
import { mendDeviceNames } from "./devices.ts";
import { mendEfiFallback } from "./efi.ts";
import { removeFirstBootScripts } from "./first-boot.ts";
import { mendLuksRoot } from "./luks-root.ts";
import { pinNicNames } from "./nics.ts";
import { disableVmwareTools } from "./vmware-tools.ts";

type Mend = (context: RepairContext) => Promise<Repair[]>;

const forAll: readonly Mend[] = [mendEfiFallback];
const forLinux: readonly Mend[] = [
  mendDeviceNames,
  mendLuksRoot, // by UUIDs, so after the names
  pinNicNames,
  removeFirstBootScripts,
  disableVmwareTools,
];

export async function repairGuest(context: RepairContext): Promise<Repair[]> {
  const linux = context.inspected.system.os === "linux";
  const done: Repair[] = [];
  for (const mend of [...forAll, ...(linux ? forLinux : [])]) {
    for (const repair of await mend(context)) {
      context.logger.info({ repair: repair.name }, `repaired: ${repair.detail}`);
      done.push(repair);
    }
  }
  return done;
}
