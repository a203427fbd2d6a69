/** Machines and volumes as the API shows them. */

import type {
  AccountRecord,
  InstanceRecord,
  NicRecord,
  OsTypeRecord,
  TagRecord,
  VolumeRecord,
} from "../world/records.ts";
import type { World } from "../world/world.ts";
import { ownerFields } from "./command.ts";

export function byId<T extends { readonly id: string }>(items: readonly T[], id: string): T {
  const found = items.find((item) => item.id === id);
  if (found === undefined) throw new Error(`nothing has the ID ${id}`);
  return found;
}

export function osTypeOf(world: World, instance: InstanceRecord): OsTypeRecord {
  return byId(world.catalogue.osTypes, instance.osTypeId);
}

export function instanceAnswer(world: World, instance: InstanceRecord, account: AccountRecord) {
  const { catalogue, settings } = world;
  const template = byId(catalogue.templates, instance.templateId);
  const offering = byId(catalogue.serviceOfferings, instance.offeringId);
  const runsOn = instance.state === "Running" && account.roleType === "Admin";
  const readOnly = settings.readOnlyDetails.join(", ");
  return {
    ...{ id: instance.id, name: instance.name, displayname: instance.displayName },
    ...ownerFields(world, instance.owner),
    ...{ userid: account.userId, username: account.name, created: instance.created },
    ...{ state: instance.state, haenable: false, displayvm: true },
    ...{ zoneid: instance.zoneId, zonename: byId(catalogue.zones, instance.zoneId).name },
    ...(runsOn && { hostid: "c0000000-0000-4000-8000-000000000001", hostname: "kvm1" }),
    ...{ templateid: template.id, templatename: template.name, templatedisplaytext: template.name },
    ...{ templatetype: "USER", templateformat: "QCOW2", passwordenabled: false },
    ...{ serviceofferingid: offering.id, serviceofferingname: offering.name },
    ...{
      cpunumber: instance.cpuNumber,
      cpuspeed: instance.cpuSpeedMHz,
      memory: instance.memoryMiB,
    },
    ...{ guestosid: instance.osTypeId, ostypeid: instance.osTypeId },
    osdisplayname: osTypeOf(world, instance).description,
    ...{ rootdeviceid: 0, rootdevicetype: "ROOT", securitygroup: [], affinitygroup: [] },
    nic: instance.nics.map((nic, index) => nicAnswer(world, nic, index)),
    ...{ hypervisor: "KVM", instancename: `i-2-${instance.id.slice(0, 8)}-VM` },
    ...{ details: { ...instance.details }, readonlydetails: readOnly },
    ...{ boottype: instance.bootType, bootmode: instance.bootMode, isdynamicallyscalable: false },
    ...{ tags: tagAnswers(world, world.tagsOf(instance.id)), pooltype: "NetworkFilesystem" },
  };
}

function nicAnswer(world: World, nic: NicRecord, index: number): object {
  const network = byId(world.catalogue.networks, nic.networkId);
  return {
    ...{ id: nic.id, networkid: network.id, networkname: network.name },
    ...(nic.ip && { netmask: "255.255.255.0", gateway: network.gateway, ipaddress: nic.ip }),
    ...{ broadcasturi: "vlan://100", isolationuri: "vlan://100", traffictype: "Guest" },
    ...{ type: network.type, isdefault: index === 0, macaddress: nic.mac },
    ...{ secondaryip: [], extradhcpoption: [], deviceid: String(index) },
  };
}

export function volumeAnswer(world: World, volume: VolumeRecord) {
  const { catalogue } = world;
  const instance = volume.instanceId && world.instances.get(volume.instanceId);
  const offering = catalogue.diskOfferings.find(({ id }) => id === volume.offeringId);
  const service = catalogue.serviceOfferings.find(({ id }) => id === volume.offeringId);
  return {
    ...{ id: volume.id, name: volume.name, type: volume.type, size: volume.sizeBytes },
    ...{ zoneid: volume.zoneId, zonename: byId(catalogue.zones, volume.zoneId).name },
    ...ownerFields(world, volume.owner),
    ...(volume.deviceId !== undefined && { deviceid: volume.deviceId }),
    ...(instance && {
      ...{ virtualmachineid: instance.id, vmname: instance.name, vmstate: instance.state },
      ...{ vmdisplayname: instance.displayName, attached: volume.attached },
    }),
    ...{ created: volume.created, state: volume.state, hypervisor: "KVM" },
    ...{ storagetype: "shared", provisioningtype: "thin", isextractable: true },
    ...(offering && {
      ...{ diskofferingid: offering.id, diskofferingname: offering.name },
      diskofferingdisplaytext: offering.name,
    }),
    ...(service && { serviceofferingid: service.id, serviceofferingname: service.name }),
    ...(volume.snapshotId && { snapshotid: volume.snapshotId }),
    ...(volume.state === "Allocated" ? { storage: "none" } : { storage: volume.pool.name }),
    ...{ destroyed: volume.state === "Destroy", displayvolume: true, quiescevm: false },
    ...{ supportsstoragesnapshot: false, tags: tagAnswers(world, world.tagsOf(volume.id)) },
  };
}

export function tagAnswers(world: World, tags: readonly TagRecord[]): object[] {
  return tags.map(({ resourceType, resourceId, key, value }) => {
    const things = { UserVm: world.instances, Volume: world.volumes, Snapshot: world.snapshots };
    const owner = things[resourceType].get(resourceId)?.owner;
    const about = { resourcetype: resourceType, resourceid: resourceId };
    return { key, value, ...about, ...(owner && ownerFields(world, owner)) };
  });
}
