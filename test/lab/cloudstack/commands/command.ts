/** What a command is given, and how lists and jobs are answered. */

import { parameterError } from "../api/api-error.ts";
import type { Jobs } from "../api/jobs.ts";
import type { Parameters } from "../api/parameters.ts";
import type { Hypervisor } from "../hypervisor/hypervisor.ts";
import type { VolumeStorage } from "../hypervisor/storage.ts";
import type { AccountRecord, Owner } from "../world/records.ts";
import type { World } from "../world/world.ts";

export interface CloudContext {
  readonly world: World;
  readonly jobs: Jobs;
  readonly storage: VolumeStorage;
  readonly hypervisor: Hypervisor;
}

export interface Call extends CloudContext {
  readonly account: AccountRecord;
  readonly parameters: Parameters;
}

export interface Command {
  readonly description: string;
  readonly isAsync: boolean;
  /** Only an administrator's role has it. */
  readonly adminOnly?: boolean;
  /** Names of parameters, the required ones with `*`. */
  readonly parameters: string;
  /** @returns what stands below `…response` */
  run(call: Call): object | Promise<object>;
}

const pageSizeMax = 500;

/** One page of a list; nothing at all where there is nothing, as CloudStack answers. */
export function listAnswer(parameters: Parameters, name: string, items: readonly object[]): object {
  const page = parameters.integer("page");
  const size = parameters.integer("pagesize");
  if (size !== undefined && size > pageSizeMax)
    throw parameterError(`Page size can not be greater than ${pageSizeMax}`);
  if (page === undefined && size !== undefined)
    throw parameterError("page is needed with pagesize");
  if (page !== undefined && page < 1) throw parameterError("Page must be a positive number");
  const pageSize = size ?? pageSizeMax;
  const from = page === undefined ? 0 : (page - 1) * pageSize;
  const shown = items.slice(from, page === undefined ? pageSizeMax : from + pageSize);
  return shown.length === 0 ? {} : { count: items.length, [name]: shown };
}

/** MySQL compares without regard to case. */
export function sameText(one: string | undefined, other: string): boolean {
  return one?.toLowerCase() === other.toLowerCase();
}

export function containsText(one: string | undefined, part: string): boolean {
  return one?.toLowerCase().includes(part.toLowerCase()) ?? false;
}

/** Things of these owners are listed: the caller's own; all, or a project's, where it asks for them. */
export function isListed({ world, account, parameters }: Call, owner: Owner): boolean {
  const project = parameters.text("projectid");
  if (project === "-1") return world.owns(account, owner);
  if (project !== undefined) return owner.projectId === project && world.owns(account, owner);
  if (owner.projectId !== undefined) return false;
  const name = parameters.text("account");
  if (name !== undefined) {
    const isTheirs = owner.account === name && owner.domainId === parameters.required("domainid");
    return isTheirs && world.owns(account, owner);
  }
  if (account.roleType === "Admin" && parameters.flag("listall") === true) return true;
  return owner.account === account.name && owner.domainId === account.domainId;
}

/** For whom a thing is made: a project, another account for an administrator, or the caller. */
export function newOwner({ world, account, parameters }: Call): Owner {
  const projectId = parameters.text("projectid");
  const base = { account: account.name, domainId: account.domainId };
  if (projectId !== undefined) {
    const project = world.catalogue.projects.find(({ id }) => id === projectId);
    if (project === undefined) throw parameterError(`Unable to find project by id ${projectId}`);
    const owner = { ...base, projectId };
    world.checkOwned(account, owner, `project ${project.name}`);
    return owner;
  }
  const name = parameters.text("account");
  if (name === undefined) return base;
  const owner = { account: name, domainId: parameters.required("domainid") };
  if (!world.catalogue.accounts.some((each) => each.name === name))
    throw parameterError(`Unable to find account ${name} in domain ${owner.domainId}`);
  world.checkOwned(account, owner, `account ${name}`);
  return owner;
}

export function ownerFields(world: World, owner: Owner): object {
  const domain = world.catalogue.domains.find(({ id }) => id === owner.domainId);
  const project = world.catalogue.projects.find(({ id }) => id === owner.projectId);
  const names = { domainid: owner.domainId, domain: domain?.name ?? "" };
  return project
    ? { projectid: project.id, project: project.name, ...names }
    : { account: owner.account, ...names };
}

/** The job of a command that changes this thing. */
export function submit(
  call: Call,
  thing: { type: string; id: string; turn?: string },
  work: () => Promise<object>,
): { jobid: string } {
  const { jobs, account, parameters } = call;
  const { command } = parameters;
  const jobid = jobs.submit({
    ...{ command: command[0]!.toUpperCase() + command.slice(1), work },
    ...{ accountId: account.id, userId: account.userId },
    ...{ instanceType: thing.type, instanceId: thing.id, turn: thing.turn ?? thing.id },
  });
  return { jobid };
}
