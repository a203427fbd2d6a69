/** The lab as plain data, for the control API and for people. */

import { changeIdOf } from "./records.ts";
import type { VcenterLab } from "./vcenter.ts";

export function describeLab(lab: VcenterLab) {
  const { endpoint, username, thumbprintSha1, thumbprintSha256, labDir, connections } = lab;
  return {
    ...{ endpoint, username, thumbprintSha1, thumbprintSha256, labDir, connections },
    sessions: lab.sessions.all().length,
    faults: lab.faults.list(),
    vms: lab.vms.map((vm) => ({
      name: vm.name,
      path: vm.path,
      moref: vm.moref,
      instanceUuid: vm.record.instanceUuid,
      powerState: vm.record.powerState,
      tools: vm.record.tools,
      hardwareVersion: vm.record.hardwareVersion,
      host: vm.record.host,
      changeTrackingEnabled: vm.record.changeTrackingEnabled,
      consolidationNeeded: vm.record.consolidationNeeded,
      snapshots: vm.snapshots.map(({ moref, name, description, parent, createTime, quiesced }) => ({
        ...{ moref, name, description, parent, createTime, quiesced },
      })),
      disks: vm.disks.map(({ record, imagePath }) => ({
        key: record.key,
        label: record.label,
        capacityBytes: record.capacityBytes,
        fileName: record.fileName,
        mode: record.mode,
        changeId: changeIdOf(record),
        imagePath,
      })),
    })),
  };
}
