/** What the account may do to the VM. */
import { MigratekitError } from "../../errors.ts";
import type { VmDetails } from "../../vmware/vm-details.ts";
import type { VsphereClient } from "../../vmware/vmware.ts";
import { type TrackingSettings, trackingOf } from "../vm/suitable.ts";
import { type Finding, ok, problem, warning } from "./finding.ts";

/** On the VM or a folder above it; by their API names, as roles are made from scripts. */
const snapshotAndDisk = [
  "VirtualMachine.State.CreateSnapshot",
  "VirtualMachine.State.RemoveSnapshot",
  "VirtualMachine.Provisioning.DiskRandomRead",
  "VirtualMachine.Provisioning.GetVmFiles",
];
const tracking = "VirtualMachine.Config.ChangeTracking";
const encrypted = "Cryptographer.Access";
/** Not for the next run of `migrate`, but for what follows it. */
const later = [
  [tracking, "turning tracking on again"],
  ["VirtualMachine.Interact.PowerOff", "a cutover"],
] as const;

/**
 * Each privilege that a run needs, a problem where the account lacks it; and those that only a later
 * step needs, a warning then.
 * @throws MigratekitError `vsphere-…`
 */
export async function checkPrivileges(
  client: VsphereClient,
  vm: VmDetails,
  settings: TrackingSettings,
): Promise<Finding[]> {
  const needed = [
    ...snapshotAndDisk,
    ...(trackingOf(vm, settings) === "off" ? [tracking] : []),
    ...(vm.encrypted ? [encrypted] : []),
  ];
  const neededLater = later.filter(([name]) => !needed.includes(name));
  const asked = [...needed, ...neededLater.map(([name]) => name)];
  const missing = new Set(await client.missingPrivileges(vm.moref, asked));
  return [
    ...needed.map((name) =>
      missing.has(name)
        ? problem("privileges", lacking(name))
        : ok("privileges", `${name} granted`),
    ),
    ...neededLater.map(([name, step]) =>
      missing.has(name)
        ? warning(
            "privileges",
            `${name} is missing: ${step} would fail`,
            "Add it to the account's role on the VM's folder.",
          )
        : ok("privileges", `${name} granted, for ${step}`),
    ),
  ];
}

function lacking(privilege: string): MigratekitError {
  return new MigratekitError("vsphere-permission", `the account lacks ${privilege} on the VM`, {
    remedy: `Add ${privilege} to the account's role on the VM's folder.`,
    context: { privilegeId: privilege },
  });
}
