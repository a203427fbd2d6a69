/** What a cloud has before anybody has done anything: one zone, offerings, templates, networks, accounts. */

import { randomBytes, randomUUID } from "node:crypto";
import type {
  AccountRecord,
  DiskOfferingRecord,
  DomainRecord,
  NetworkRecord,
  OsTypeRecord,
  Owner,
  PoolRecord,
  ProjectRecord,
  ResourceLimits,
  RoleType,
  ServiceOfferingRecord,
  TemplateRecord,
  ZoneRecord,
} from "./records.ts";

export interface Catalogue {
  readonly domains: DomainRecord[];
  readonly accounts: AccountRecord[];
  readonly projects: ProjectRecord[];
  readonly zones: ZoneRecord[];
  readonly serviceOfferings: ServiceOfferingRecord[];
  readonly diskOfferings: DiskOfferingRecord[];
  readonly osTypes: OsTypeRecord[];
  readonly templates: TemplateRecord[];
  readonly networks: NetworkRecord[];
}

/** Names that tests may rely on. */
export const seedNames = {
  account: "operator",
  otherAccount: "other",
  adminAccount: "admin",
  project: "project one",
  zone: "zone-1",
  smallOffering: "Small Instance",
  customOffering: "Custom Instance",
  boundedOffering: "Custom Constrained",
  diskOffering: "Custom Disk",
  fixedDiskOffering: "5 GiB",
  managedDiskOffering: "Managed Custom Disk",
  template: "seed",
  network: "lan",
  isolatedNetwork: "isolated",
  l2Network: "l2",
} as const;

const mebibyte = 1_048_576;

export function seedCatalogue(): Catalogue {
  const domain = { id: randomUUID(), name: "ROOT", path: "ROOT" };
  const account = (name: string, roleType: RoleType): AccountRecord => ({
    ...{ id: randomUUID(), name, domainId: domain.id, roleType, userId: randomUUID() },
    // As CloudStack makes them: base64 for URLs, of 64 bytes.
    apiKey: randomBytes(64).toString("base64url"),
    secretKey: randomBytes(64).toString("base64url"),
    ...{ deniedCommands: [], state: "enabled" },
  });
  const accounts = [
    account(seedNames.account, "User"),
    account(seedNames.otherAccount, "User"),
    account(seedNames.adminAccount, "Admin"),
  ];
  const operator: Owner = { account: seedNames.account, domainId: domain.id };
  const osTypes = seedOsTypes();
  return {
    ...{ domains: [domain], accounts, osTypes },
    projects: [
      {
        ...{ id: randomUUID(), name: seedNames.project, domainId: domain.id },
        members: [seedNames.account],
      },
    ],
    zones: [{ id: randomUUID(), name: seedNames.zone, allocationState: "Enabled" }],
    serviceOfferings: seedServiceOfferings(),
    diskOfferings: seedDiskOfferings(),
    templates: [
      template(seedNames.template, osTypes[0]!, { ready: true }),
      template("debian-12", osTypes[1]!, { ready: true }),
      template("not downloaded yet", osTypes[1]!, { ready: false }),
    ],
    networks: seedNetworks(operator),
  };
}

function seedOsTypes(): OsTypeRecord[] {
  const old = { diskController: "ide", nicAdapter: "e1000" } as const;
  const paravirtual = { diskController: "virtio", nicAdapter: "virtio" } as const;
  return [
    { id: randomUUID(), description: "Other Linux (64-bit)", ...old },
    { id: randomUUID(), description: "Debian GNU/Linux 12 (64-bit)", ...paravirtual },
    { id: randomUUID(), description: "Windows Server 2022 (64-bit)", ...old },
    { id: randomUUID(), description: "Windows PV", ...paravirtual },
    {
      ...{ id: randomUUID(), description: "Other PV Virtio-SCSI (64-bit)" },
      ...{ diskController: "scsi", nicAdapter: "virtio" },
    },
  ];
}

function seedServiceOfferings(): ServiceOfferingRecord[] {
  const fixed = { cpuNumber: 1, cpuSpeedMHz: 1000, memoryMiB: 1024 };
  return [
    { id: randomUUID(), name: seedNames.smallOffering, ...fixed },
    { id: randomUUID(), name: seedNames.customOffering },
    {
      ...{ id: randomUUID(), name: seedNames.boundedOffering, cpuSpeedMHz: 2000 },
      limits: { cpuMin: 1, cpuMax: 4, memoryMin: 512, memoryMax: 8192 },
    },
  ];
}

function seedDiskOfferings(): DiskOfferingRecord[] {
  const pool = (name: string, managed: boolean): PoolRecord => ({
    ...{ id: randomUUID(), name, managed },
  });
  const nfs = pool("nfs-1", false);
  return [
    { id: randomUUID(), name: seedNames.diskOffering, pool: nfs },
    { id: randomUUID(), name: seedNames.fixedDiskOffering, sizeGiB: 5, pool: nfs },
    { id: randomUUID(), name: seedNames.managedDiskOffering, pool: pool("solidfire-1", true) },
  ];
}

function template(name: string, osType: OsTypeRecord, { ready }: { ready: boolean }) {
  return { id: randomUUID(), name, osTypeId: osType.id, sizeBytes: 50 * mebibyte, ready };
}

function seedNetworks(owner: Owner): NetworkRecord[] {
  const domainName = "cs1cloud.internal";
  const lan = { cidr: "192.0.2.0/24", gateway: "192.0.2.1" };
  return [
    { id: randomUUID(), name: seedNames.network, type: "Shared", ...lan, domainName },
    {
      ...{ id: randomUUID(), name: seedNames.isolatedNetwork, type: "Isolated", ...lan },
      ...{ domainName: "isolated.internal", owner },
    },
    { id: randomUUID(), name: seedNames.l2Network, type: "L2", domainName: "l2.internal", owner },
  ];
}

export const noLimits: ResourceLimits = {
  ...{ user_vm: -1, volume: -1, snapshot: -1, cpu: -1, memory: -1, primary_storage: -1 },
};
