/** Whose key it is, and what it may do. */

import { MigratekitError } from "../errors.ts";
import { isUuid } from "../uuid.ts";
import { choose } from "./catalog.ts";
import { Entry } from "./fields.ts";
import { type Fields, isFields } from "./wire/answer.ts";
import type { Parameters } from "./wire/signature.ts";
import type { Wire } from "./wire/wire.ts";

/** Whose things are meant, where it is not those of the key's own account. */
export interface Owner {
  /** Id, name or path. */
  readonly domain?: string | undefined;
  readonly account?: string | undefined;
  /** Id or name. */
  readonly project?: string | undefined;
}

export interface Capabilities {
  /** `4.20.1.0` */
  readonly version: string;
  /** Whether a user may expunge what he destroyed; else its name and addresses stay taken for a day or so. */
  readonly mayExpunge: boolean;
  readonly volumeGiBMin?: number | undefined;
  readonly volumeGiBMax?: number | undefined;
}

/** What is left to take; undefined: as much as there is. */
export interface Limits {
  readonly account: string;
  readonly domainId: string;
  readonly volumes?: number | undefined;
  readonly instances?: number | undefined;
  readonly cpus?: number | undefined;
  readonly memoryMiB?: number | undefined;
  readonly primaryStorageGiB?: number | undefined;
}

/** The parameters that say it; none for the key's own account. @throws MigratekitError `usage`, … */
export async function ownerParameters(wire: Wire, owner: Owner): Promise<Parameters> {
  const { domain, account, project } = owner;
  if (project !== undefined) {
    if (account !== undefined || domain !== undefined) {
      throw new MigratekitError(
        "usage",
        "--cloudstack-project stands alone, without --cloudstack-account and --cloudstack-domain",
      );
    }
    if (isUuid(project)) return { projectid: project };
    const all = await wire.list("listProjects", "project");
    const kind = { what: "project", flag: "--cloudstack-project" };
    return { projectid: choose(kind, all.map(namedOf("a project")), project).id };
  }
  if ((account === undefined) !== (domain === undefined)) {
    throw new MigratekitError(
      "usage",
      "--cloudstack-account and --cloudstack-domain are given together, or not at all",
    );
  }
  if (account === undefined || domain === undefined) return {};
  return { account, domainid: await domainId(wire, domain) };
}

async function domainId(wire: Wire, domain: string): Promise<string> {
  if (isUuid(domain)) return domain;
  const all = await wire.list("listDomains", "domain", { listall: "true" });
  const paths = all.map((fields) => {
    const entry = new Entry("a domain", fields);
    const path = entry.optionalText("path") ?? "";
    return { id: entry.text("id"), name: domain.includes("/") ? path : entry.text("name") };
  });
  return choose({ what: "domain", flag: "--cloudstack-domain" }, paths, domain).id;
}

function namedOf(what: string) {
  return (fields: Fields) => {
    const entry = new Entry(what, fields);
    return { id: entry.text("id"), name: entry.text("name") };
  };
}

export async function readCapabilities(wire: Wire): Promise<Capabilities> {
  const { capability } = await wire.read("listCapabilities");
  const [entry] = new Entry("an answer", { all: [capability] }).entries("all", "capabilities");
  return {
    version: entry!.text("cloudstackversion"),
    mayExpunge: entry!.flag("allowuserexpungerecovervm"),
    volumeGiBMin: entry!.optionalInteger("customdiskofferingminsize"),
    volumeGiBMax: entry!.optionalInteger("customdiskofferingmaxsize"),
  };
}

/** Lower case: of every command that the key's role allows. */
export async function readAllowedCommands(wire: Wire): Promise<ReadonlySet<string>> {
  const { api } = await wire.read("listApis");
  const entries = new Entry("an answer", { api }).entries("api", "a command");
  return new Set(entries.map((entry) => entry.text("name").toLowerCase()));
}

/**
 * Which details an instance may be given, and with which values: of those that the account is denied nothing is
 * said. `like`: an instance of the same hypervisor.
 */
export async function readDetailOptions(
  wire: Wire,
  like: string,
): Promise<Readonly<Record<string, readonly string[]>>> {
  const answer = await wire.read("listDetailOptions", { resourcetype: "UserVm", resourceid: like });
  const { details = {} } = isFields(answer.detailoptions) ? answer.detailoptions : {};
  const entries = isFields(details) ? Object.entries(details) : [];
  return Object.fromEntries(
    entries.map(([name, values]) => [name, Array.isArray(values) ? values.map(String) : []]),
  );
}

/** @throws MigratekitError `cloudstack-conflict` where the key sees several accounts and none was named */
export async function readLimits(wire: Wire, owner: Parameters): Promise<Limits> {
  const { projectid, account: name, domainid } = owner;
  if (projectid !== undefined) {
    const [project] = await wire.list("listProjects", "project", { id: projectid });
    if (project) return limitsOf(project);
    throw new MigratekitError(
      "cloudstack-not-found",
      `--cloudstack-project ${projectid}: there is none that this key may see`,
    );
  }
  const parameters: Parameters = name === undefined ? {} : { name, domainid: domainid! };
  const accounts = await wire.list("listAccounts", "account", parameters);
  const [account] = accounts;
  if (accounts.length === 1 && account) return limitsOf(account);
  const names = accounts.map((each) => limitsOf(each).account);
  throw new MigratekitError(
    "cloudstack-conflict",
    accounts.length === 0
      ? "the key sees no account"
      : `the key sees several accounts: ${names.slice(0, 8).join(", ")}`,
    { remedy: "Say which with --cloudstack-account and --cloudstack-domain." },
  );
}

function limitsOf(fields: Fields): Limits {
  const entry = new Entry("an account", fields);
  const left = (name: string) => {
    const text = entry.optionalText(`${name}available`);
    return text === undefined || text === "Unlimited" || text === "-1" ? undefined : Number(text);
  };
  return {
    account: entry.text("name"),
    domainId: entry.text("domainid"),
    volumes: left("volume"),
    instances: left("vm"),
    cpus: left("cpu"),
    memoryMiB: left("memory"),
    primaryStorageGiB: left("primarystorage"),
  };
}
