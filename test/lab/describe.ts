// A laboratory in plain data: what `npm run lab -- --json` prints and `GET /lab` answers.

import { describeCloud } from "./cloudstack/control-routes.ts";
import type { Lab } from "./start-lab.ts";
import type { TargetDisk } from "./targets-of-vms.ts";
import { frozenCopies } from "./vcenter/frozen-copies.ts";
import type { LabVm } from "./vcenter/lab-vm.ts";

export interface DescribedDisk extends TargetDisk {
  /** What the guest writes to. */
  liveImage: string;
  /** The disk as the newest snapshot froze it; absent before the first one. */
  frozenImage?: string;
}

export interface DescribedVm {
  name: string;
  path: string;
  moref: string;
  powerState: string;
  exportName: string;
  disks: DescribedDisk[];
}

export interface LabDescription {
  dir: string;
  endpoint: string;
  username: string;
  password: string;
  passwordFile: string;
  thumbprintSha1: string;
  thumbprintSha256: string;
  certificateFile: string;
  nfc: string;
  vddkLibdir: string;
  vddkPlugin: string;
  stateDir: string;
  nbdPort: number;
  vmaUrl: string;
  omaUrl: string;
  controlUrl: string;
  /** SQLite file with replication_jobs and vm_disks. */
  pollerDatabase: string;
  /** Endpoint and keys of CloudStack, what it offers, what there is; absent where there is none. */
  cloudStack?: ReturnType<typeof describeCloud>;
  /** For the operators' short command line. */
  environment: Record<string, string>;
  vms: DescribedVm[];
}

function describeVm(lab: Lab, vm: LabVm): DescribedVm {
  const newest = frozenCopies(lab.dir, vm.moref).at(-1);
  const { name, path, moref } = vm;
  return {
    ...{ name, path, moref, powerState: vm.record.powerState },
    exportName: lab.targets.exportTemplate(vm),
    disks: lab.targets.disksOf(vm).map((disk) => {
      const frozen = newest?.disks.find(({ key }) => key === disk.key);
      return {
        ...disk,
        liveImage: vm.disk(disk.key).imagePath,
        ...(frozen && { frozenImage: frozen.imagePath }),
      };
    }),
  };
}

export function describeLab(lab: Lab, controlUrl: string): LabDescription {
  const { vcenter, vddk } = lab;
  return {
    dir: lab.dir,
    endpoint: vcenter.endpoint,
    username: vcenter.username,
    password: vcenter.password,
    passwordFile: lab.passwordFile,
    thumbprintSha1: vcenter.thumbprintSha1,
    thumbprintSha256: vcenter.thumbprintSha256,
    certificateFile: vcenter.certificatePath,
    nfc: lab.nfc.endpoint,
    vddkLibdir: vddk.libdir,
    vddkPlugin: vddk.plugin,
    stateDir: lab.stateDir,
    nbdPort: lab.targets.port,
    vmaUrl: lab.vma.url,
    omaUrl: lab.oma.url,
    controlUrl,
    pollerDatabase: lab.pollerDatabase,
    ...(lab.cloudStack && { cloudStack: describeCloud(lab.cloudStack) }),
    environment: lab.cliEnv(),
    vms: vcenter.vms.map((vm) => describeVm(lab, vm)),
  };
}
