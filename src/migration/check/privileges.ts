/** What the account may do to the VM. */
import { MigratekitError } from "../../errors.ts";
import type { VmDetails } from "../../vmware/vm-details.ts";
import type { VsphereClient } from "../../vmware/vmware.ts";
import { type TrackingSettings, trackingOf } from "../vm/suitable.ts";
import { type Finding, ok, problem, warning } from "./finding.ts";

/** On the VM or a folder above it; by their API names, as roles are made from scripts. */
const privileges = {
  snapshot: ["VirtualMachine.State.CreateSnapshot", "VirtualMachine.State.RemoveSnapshot"],
  tracking: "VirtualMachine.Config.ChangeTracking",
  disk: ["VirtualMachine.Provisioning.DiskRandomRead", "VirtualMachine.Provisioning.GetVmFiles"],
  encrypted: "Cryptographer.Access",
  cutover: "VirtualMachine.Interact.PowerOff",
} as const;

/**
 * A problem for each privilege that a run needs and the account lacks, a warning for one that only
 * some runs need.
 * @throws MigratekitError `vsphere-…`
 */
export async function checkPrivileges(
  client: VsphereClient,
  vm: VmDetails,
  settings: TrackingSettings,
): Promise<Finding[]> {
  const needsTracking = trackingOf(vm, settings) === "off";
  const needed: string[] = [
    ...privileges.snapshot,
    ...privileges.disk,
    ...(needsTracking ? [privileges.tracking] : []),
    ...(vm.encrypted ? [privileges.encrypted] : []),
  ];
  const useful: string[] = [privileges.tracking, privileges.cutover].filter(
    (name) => !needed.includes(name),
  );
  const missing = await client.missingPrivileges(vm.moref, [...needed, ...useful]);
  const found: Finding[] = needed.map((name) =>
    missing.includes(name)
      ? problem("privileges", lacking(name))
      : ok("privileges", `${name} granted`),
  );
  for (const name of useful.filter((candidate) => missing.includes(candidate))) {
    const what = name === privileges.cutover ? "a cutover" : "turning tracking on again";
    found.push(
      warning(
        "privileges",
        `${name} is missing: ${what} would fail`,
        "Add it to the account's role on the VM's folder.",
      ),
    );
  }
  return found;
}

function lacking(privilege: string): MigratekitError {
  return new MigratekitError("vsphere-permission", `the account lacks ${privilege} on the VM`, {
    remedy: `Add ${privilege} to the account's role on the VM's folder.`,
    context: { privilegeId: privilege },
  });
}
