/** What a cloud offers: zones, offerings, templates, networks, and what the API itself can do. */

import { parameterError } from "../api/api-error.ts";
import { gibibyte, timeText } from "../world/records.ts";
import { byId } from "./answers.ts";
import {
  type Call,
  type Command,
  containsText,
  isListed,
  listAnswer,
  ownerFields,
  sameText,
} from "./command.ts";

type Named = { readonly id: string; readonly name: string };

/** A list with the filters that all of these have. */
function listOf<T extends Named>(
  name: string,
  description: string,
  items: (call: Call) => readonly T[],
  answer: (item: T, call: Call) => object,
  more = "",
): Command {
  return {
    description,
    isAsync: false,
    parameters: `id name keyword page pagesize ${more}`.trim(),
    run(call) {
      const { parameters } = call;
      const id = parameters.text("id");
      const wanted = parameters.text("name");
      const keyword = parameters.text("keyword");
      const found = items(call).filter(
        (item) =>
          (id === undefined || item.id === id) &&
          (wanted === undefined || sameText(item.name, wanted)) &&
          (keyword === undefined || containsText(item.name, keyword)),
      );
      return listAnswer(
        parameters,
        name,
        found.map((item) => answer(item, call)),
      );
    },
  };
}

const created = timeText(new Date("2024-01-02T03:04:05Z"));

export const listZones = listOf(
  "zone",
  "Lists zones",
  ({ world }) => world.catalogue.zones,
  ({ id, name, allocationState }) => ({
    ...{ id, name, networktype: "Advanced", securitygroupsenabled: false, tags: [] },
    ...{
      allocationstate: allocationState,
      localstorageenabled: false,
      dhcpprovider: "VirtualRouter",
    },
    ...{ type: "Core", allowuserspecifyvrmtu: false },
  }),
  "available",
);

export const listServiceOfferings = listOf(
  "serviceoffering",
  "Lists all available service offerings.",
  ({ world }) => world.catalogue.serviceOfferings,
  ({ id, name, cpuNumber, cpuSpeedMHz, memoryMiB, limits }) => ({
    ...{ id, name, displaytext: name, created },
    ...(cpuNumber !== undefined && { cpunumber: cpuNumber }),
    ...(cpuSpeedMHz !== undefined && { cpuspeed: cpuSpeedMHz }),
    ...(memoryMiB !== undefined && { memory: memoryMiB }),
    ...{ iscustomized: cpuNumber === undefined, issystem: false, defaultuse: false },
    ...(limits && {
      serviceofferingdetails: {
        ...{ mincpunumber: String(limits.cpuMin), maxcpunumber: String(limits.cpuMax) },
        ...{ minmemory: String(limits.memoryMin), maxmemory: String(limits.memoryMax) },
      },
    }),
    ...{ offerha: false, limitcpuuse: false, isvolatile: false, storagetype: "shared" },
    ...{ provisioningtype: "thin", dynamicscalingenabled: false, diskofferingstrictness: false },
  }),
  "zoneid",
);

export const listDiskOfferings = listOf(
  "diskoffering",
  "Lists all available disk offerings.",
  ({ world }) => world.catalogue.diskOfferings,
  ({ id, name, sizeGiB }) => ({
    ...{ id, name, displaytext: name, created, disksize: sizeGiB ?? 0 },
    ...{ iscustomized: sizeGiB === undefined, iscustomizediops: false, displayoffering: true },
    ...{ storagetype: "shared", provisioningtype: "thin", cacheMode: "none" },
  }),
  "zoneid",
);

const templates = listOf(
  "template",
  "List all public, private, and privileged templates.",
  ({ world, account }) =>
    world.catalogue.templates.filter(({ owner }) => !owner || world.owns(account, owner)),
  ({ id, name, osTypeId, sizeBytes, ready }, { world }) => ({
    ...{ id, name, displaytext: name, created, isready: ready, ispublic: true, isfeatured: true },
    ...{ ostypeid: osTypeId, ostypename: byId(world.catalogue.osTypes, osTypeId).description },
    ...{ size: sizeBytes, physicalsize: sizeBytes, status: ready ? "Download Complete" : "10%" },
    ...{
      format: "QCOW2",
      hypervisor: "KVM",
      templatetype: "USER",
      crossZones: true,
      account: "system",
    },
    ...{ zoneid: world.catalogue.zones[0]!.id, zonename: world.catalogue.zones[0]!.name, tags: [] },
    ...{ passwordenabled: false, isextractable: true, details: {}, bits: 0, requireshvm: true },
  }),
  "templatefilter* zoneid",
);

export const listTemplates: Command = {
  ...templates,
  run(call) {
    call.parameters.required("templatefilter");
    return templates.run(call);
  },
};

export const listNetworks = listOf(
  "network",
  "Lists all available networks.",
  (call) => call.world.catalogue.networks.filter(({ owner }) => !owner || isListed(call, owner)),
  ({ id, name, type, cidr, gateway, domainName, owner }, { world }) => ({
    ...{ id, name, displaytext: name, type, traffictype: "Guest", state: "Implemented" },
    ...(cidr && { cidr, gateway, netmask: "255.255.255.0", networkcidr: cidr }),
    ...{ zoneid: world.catalogue.zones[0]!.id, zonename: world.catalogue.zones[0]!.name },
    ...(owner && ownerFields(world, owner)),
    ...{ networkdomain: domainName, networkofferingid: "0ff00000-0000-4000-8000-000000000001" },
    ...{ networkofferingname: "DefaultOffering", networkofferingavailability: "Optional" },
    ...{ acltype: owner ? "Account" : "Domain", canusefordeploy: true, issystem: false },
    ...{ ispersistent: false, restartrequired: false, specifyipranges: type === "Shared" },
    ...{ service: [], tags: [], related: id, broadcastdomaintype: "Vlan" },
  }),
  "zoneid type listall projectid canusefordeploy",
);

export const listOsTypes: Command = {
  description: "Lists all supported OS types for this cloud.",
  isAsync: false,
  parameters: "id description keyword page pagesize",
  run({ world, parameters }) {
    const description = parameters.text("description");
    const found = world.catalogue.osTypes.filter(
      (type) =>
        (parameters.text("id") ?? type.id) === type.id &&
        (description === undefined || containsText(type.description, description)),
    );
    const answers = found.map(({ id, description: text }) => ({
      ...{ id, description: text, name: text, isuserdefined: false },
      oscategoryid: "05ca7e90-0000-4000-8000-000000000001",
    }));
    return listAnswer(parameters, "ostype", answers);
  },
};

export const listCapabilities: Command = {
  description: "Lists capabilities",
  isAsync: false,
  parameters: "",
  run({ world }) {
    const { settings } = world;
    return {
      capability: {
        ...{ securitygroupsenabled: false, dynamicrolesenabled: true },
        ...{ cloudstackversion: settings.version, userpublictemplateenabled: true },
        ...{ supportELB: "false", projectinviterequired: false, allowusercreateprojects: true },
        ...{ customdiskofferingminsize: 1, customdiskofferingmaxsize: 1024 },
        ...{ regionsecondaryenabled: false, kvmsnapshotenabled: true },
        ...(settings.apiLimit && {
          ...{ apilimitmax: settings.apiLimit.max },
          apilimitinterval: settings.apiLimit.intervalSeconds,
        }),
        allowuserviewdestroyedvm: settings.usersSeeDestroyed,
        allowuserexpungerecovervm: settings.usersMayExpunge,
        allowuserexpungerecovervolume: true,
        ...{ defaultuipagesize: 20, instancesstatsretentiontime: 720 },
      },
    };
  },
};

export const listHypervisorCapabilities: Command = {
  description: "Lists all hypervisor capabilities.",
  isAsync: false,
  adminOnly: true,
  parameters: "id hypervisor keyword page pagesize",
  run({ world, parameters }) {
    const answer = {
      ...{ id: "ca000000-0000-4000-8000-000000000001", hypervisor: "KVM" },
      ...{ hypervisorversion: "default", maxguestslimit: 50, maxhostspercluster: 0 },
      maxdatavolumeslimit: world.settings.dataVolumesMax,
      ...{ securitygroupenabled: true, storagemotionenabled: true, vmsnapshotenabled: false },
    };
    return listAnswer(parameters, "hypervisorCapabilities", [answer]);
  },
};

/** Of a machine on KVM, by its ID; without one nothing is said that depends on the hypervisor. */
export const listDetailOptions: Command = {
  description: "Lists all possible details and their options for a resource type.",
  isAsync: false,
  parameters: "resourcetype* resourceid",
  run({ world, account, parameters }) {
    const isKvm = parameters.text("resourceid") !== undefined;
    const all: Record<string, string[]> = {
      cpuOvercommitRatio: [],
      ...(isKvm && {
        rootDiskController: ["osdefault", "ide", "scsi", "virtio"],
        nicAdapter: ["e1000", "virtio", "rtl8139"],
      }),
    };
    const denied = account.roleType === "Admin" ? [] : world.settings.deniedDetails;
    const details = Object.fromEntries(
      Object.entries(all).filter(([name]) => !denied.includes(name)),
    );
    return { detailoptions: { details } };
  },
};

export const listStoragePools: Command = {
  description: "Lists storage pools.",
  isAsync: false,
  adminOnly: true,
  parameters: "id name zoneid page pagesize",
  run({ world, parameters }) {
    const pools = new Map(world.catalogue.diskOfferings.map(({ pool }) => [pool.id, pool]));
    const wanted = parameters.text("id");
    const found = [...pools.values()].filter(({ id }) => (wanted ?? id) === id);
    const answers = found.map(({ id, name, managed }) => ({
      ...{ id, name, managed, state: "Up", scope: "CLUSTER", disksizetotal: 1000 * gibibyte },
      type: managed ? "Iscsi" : "NetworkFilesystem",
    }));
    return listAnswer(parameters, "storagepool", answers);
  },
};

export const listProjects = listOf(
  "project",
  "Lists projects and provides detailed information for listed projects",
  ({ world, account }) =>
    world.catalogue.projects.filter(
      ({ id }) => account.roleType === "Admin" || world.isMember(account, id),
    ),
  ({ id, name, domainId }, { world }) => ({
    ...{ id, name, displaytext: name, state: "Active", tags: [] },
    ...{ domainid: domainId, domain: byId(world.catalogue.domains, domainId).name },
  }),
  "listall",
);

/** A list of things that this cloud has none of. */
export function emptyList(description: string, needs?: string): Command {
  return {
    description,
    isAsync: false,
    parameters: needs ? `${needs}* page pagesize` : "page pagesize",
    run({ parameters }) {
      if (needs !== undefined && parameters.text(needs) === undefined)
        throw parameterError(`missing parameter ${needs}`);
      return {};
    },
  };
}
