/** The part of a preflight that looks at the CloudStack volumes which are to be the targets. */
import { gibFor } from "../../cloudstack/names.ts";
import type { Config } from "../../config.ts";
import { MigratekitError } from "../../errors.ts";
import { describeDisk } from "../../nbd/target/disk.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import type { VirtualDisk } from "../../vmware/virtual-disk.ts";
import { openCloudStack } from "../cloud.ts";
import { checkVolumeFlags, planVolumes } from "../volumes/volumes.ts";
import { type Finding, ok, problem, warningsOf } from "./finding.ts";

export interface VolumeFindings {
  readonly findings: Finding[];
  /** Device key and id of those that are attached, so that their exports can be looked at. */
  readonly attached: (readonly [number, string])[];
}

/** Makes and attaches nothing. @throws MigratekitError `usage`, `cloudstack-…`; the signal's reason */
export async function checkVolumes(
  config: Config,
  vm: {
    readonly name: string;
    readonly identity: VmIdentity;
    readonly disks: readonly VirtualDisk[];
    readonly known: ReadonlyMap<number, string> | undefined;
  },
  signal: AbortSignal,
): Promise<VolumeFindings> {
  checkVolumeFlags(config);
  const cloud = openCloudStack({ config, logger: warningsOf(() => {}), signal });
  const { name: vmName, identity, disks, known } = vm;
  const plan = await planVolumes({ config, cloud, vmName, identity, disks, known });
  const { appliance } = plan;
  const findings = [ok("cloudstack", `appliance: ${appliance.name} (${appliance.id})`)];
  const attached: (readonly [number, string])[] = [];
  if (appliance.state !== "Running") {
    const message = `the appliance ${appliance.name} is ${appliance.state}: it exports nothing`;
    findings.push(problem("cloudstack", new MigratekitError("cloudstack-conflict", message)));
  }
  if (plan.disks.some(({ volume }) => volume === undefined)) {
    const offering = await cloud.diskOffering(config.cloudstackDiskOffering!);
    findings.push(ok("cloudstack", `disk offering: ${offering.name} (${offering.id})`));
  }
  for (const { disk, name, volume, obstacle } of plan.disks) {
    if (obstacle !== undefined) findings.push(problem("cloudstack", obstacle));
    else if (volume === undefined) {
      const size = `${gibFor(disk.capacityBytes)} GiB`;
      findings.push(
        ok("cloudstack", `${describeDisk(disk)}: a run would make the volume ${name}, ${size}`),
      );
    } else if (volume.instanceId === undefined) {
      const what = `volume ${volume.name} (${volume.id})`;
      findings.push(ok("cloudstack", `${describeDisk(disk)}: a run would attach ${what}`));
    } else attached.push([disk.key, volume.id]);
  }
  return { findings, attached };
}
