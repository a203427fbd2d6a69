/** What a CloudStack offers to choose from: zones, offerings, templates, networks, by name or id. */

import { MigratekitError } from "../errors.ts";
import { Entry } from "./fields.ts";
import type { Fields } from "./wire/answer.ts";
import type { Parameters } from "./wire/signature.ts";
import type { Wire } from "./wire/wire.ts";

export interface Zone {
  readonly id: string;
  readonly name: string;
  /** Security groups stand for networks there; instances choose neither. */
  readonly securityGroups: boolean;
}

export interface Offering {
  readonly id: string;
  readonly name: string;
  /** Absent where the instance says it. */
  readonly cpus?: number | undefined;
  readonly cpuSpeedMHz?: number | undefined;
  readonly memoryMiB?: number | undefined;
  readonly isCustom: boolean;
  /** Of a custom offering, where it has bounds. */
  readonly bounds: {
    readonly cpusMin?: number | undefined;
    readonly cpusMax?: number | undefined;
    readonly memoryMiBMin?: number | undefined;
    readonly memoryMiBMax?: number | undefined;
  };
}

export interface DiskOffering {
  readonly id: string;
  readonly name: string;
  /** Absent where the volume says it. */
  readonly sizeGiB?: number | undefined;
  readonly isCustom: boolean;
}

export interface Template {
  readonly id: string;
  readonly name: string;
  readonly isIso: boolean;
  readonly isReady: boolean;
  readonly hypervisor?: string | undefined;
  readonly osType?: string | undefined;
  readonly sizeBytes?: number | undefined;
}

export interface Network {
  readonly id: string;
  readonly name: string;
  /** Isolated, Shared or L2. */
  readonly type: string;
  readonly state?: string | undefined;
  readonly zoneId?: string | undefined;
  readonly cidr?: string | undefined;
  readonly gateway?: string | undefined;
  readonly canDeploy: boolean;
  /** Dhcp, Dns, UserData …: who gives out addresses. */
  readonly services: readonly string[];
}

/** One kind of thing that a flag names. */
export interface Kind<T> {
  readonly what: string;
  readonly flag: string;
  readonly commands: readonly { command: string; field: string; parameters?: Parameters }[];
  readonly read: (fields: Fields, command: string) => T;
}

export const zones: Kind<Zone> = {
  what: "zone",
  flag: "--cloudstack-zone",
  commands: [{ command: "listZones", field: "zone", parameters: { available: "true" } }],
  read: (fields) => {
    const entry = new Entry("a zone", fields);
    return { ...named(entry), securityGroups: entry.flag("securitygroupsenabled") };
  },
};

export const offerings: Kind<Offering> = {
  what: "compute offering",
  flag: "--cloudstack-offering",
  commands: [{ command: "listServiceOfferings", field: "serviceoffering" }],
  read: (fields) => {
    const entry = new Entry("a compute offering", fields);
    const details = new Entry("a compute offering", entry.texts("serviceofferingdetails"));
    return {
      ...named(entry),
      cpus: entry.optionalInteger("cpunumber"),
      cpuSpeedMHz: entry.optionalInteger("cpuspeed"),
      memoryMiB: entry.optionalInteger("memory"),
      isCustom: entry.flag("iscustomized"),
      bounds: {
        cpusMin: details.optionalInteger("mincpunumber"),
        cpusMax: details.optionalInteger("maxcpunumber"),
        memoryMiBMin: details.optionalInteger("minmemory"),
        memoryMiBMax: details.optionalInteger("maxmemory"),
      },
    };
  },
};

export const diskOfferings: Kind<DiskOffering> = {
  what: "disk offering",
  flag: "--cloudstack-disk-offering",
  commands: [{ command: "listDiskOfferings", field: "diskoffering" }],
  read: (fields) => {
    const entry = new Entry("a disk offering", fields);
    const isCustom = entry.flag("iscustomized");
    const sizeGiB = isCustom ? undefined : entry.optionalInteger("disksize");
    return { ...named(entry), isCustom, sizeGiB };
  },
};

/** Templates and ISOs alike: its root is thrown away. */
export const templates: Kind<Template> = {
  what: "template or ISO",
  flag: "--cloudstack-template",
  commands: [
    { command: "listTemplates", field: "template", parameters: { templatefilter: "executable" } },
    { command: "listIsos", field: "iso", parameters: { isofilter: "executable" } },
  ],
  read: (fields, command) => {
    const entry = new Entry("a template", fields);
    return {
      ...named(entry),
      isIso: command === "listIsos",
      isReady: entry.flag("isready"),
      hypervisor: entry.optionalText("hypervisor"),
      osType: entry.optionalText("ostypename"),
      sizeBytes: entry.optionalInteger("size"),
    };
  },
};

export const networks: Kind<Network> = {
  what: "network",
  flag: "--network",
  commands: [{ command: "listNetworks", field: "network" }],
  read: (fields) => {
    const entry = new Entry("a network", fields);
    return {
      ...named(entry),
      type: entry.text("type"),
      state: entry.optionalText("state"),
      zoneId: entry.optionalText("zoneid"),
      cidr: entry.optionalText("cidr"),
      gateway: entry.optionalText("gateway"),
      canDeploy: entry.flag("canusefordeploy"),
      services: entry.entries("service", "a service").map((service) => service.text("name")),
    };
  },
};

function named(entry: Entry) {
  return { id: entry.text("id"), name: entry.text("name") };
}

/** Every one that the key may use. */
export async function listKind<T>(
  wire: Wire,
  { commands, read }: Kind<T>,
  parameters: Parameters,
): Promise<T[]> {
  const found: T[] = [];
  for (const { command, field, parameters: own } of commands) {
    const entries = await wire.list(command, field, { ...own, ...parameters });
    found.push(...entries.map((fields) => read(fields, command)));
  }
  return found;
}

/** The one that is meant: an id before a name. @throws MigratekitError `cloudstack-not-found`, naming the flag */
export function choose<T extends { readonly id: string; readonly name: string }>(
  { what, flag }: Pick<Kind<T>, "what" | "flag">,
  all: readonly T[],
  wanted: string,
): T {
  const byId = all.find(({ id }) => id === wanted.toLowerCase());
  if (byId) return byId;
  const byName = all.filter(({ name }) => name === wanted);
  if (byName.length === 1) return byName[0]!;
  if (byName.length > 1) {
    const ids = byName.map(({ id }) => id).join(", ");
    throw new MigratekitError("cloudstack-conflict", `${flag} ${wanted}: several have this name`, {
      remedy: `Give the id of the one that is meant: ${ids}.`,
    });
  }
  throw new MigratekitError("cloudstack-not-found", `${flag} ${wanted}: no such ${what}`, {
    remedy: `This key may use: ${namesOf(all)}.`,
  });
}

export function namesOf(all: readonly { readonly name: string }[]): string {
  const names = [...new Set(all.map(({ name }) => name))].sort();
  if (names.length === 0) return "none";
  const shown = names.slice(0, 12).join(", ");
  return names.length > 12 ? `${shown} and ${names.length - 12} more` : shown;
}
