/** Accounts, what they may have, and what they have. */

import type { AccountRecord, ResourceLimits } from "../world/records.ts";
import type { World } from "../world/world.ts";
import { byId } from "./answers.ts";
import { type Call, type Command, listAnswer, newOwner, ownerFields } from "./command.ts";

/** CloudStack's numbers of the kinds that are counted here. */
const resourceTypes: readonly (readonly [number, keyof ResourceLimits])[] = [
  [0, "user_vm"],
  [2, "volume"],
  [3, "snapshot"],
  [8, "cpu"],
  [9, "memory"],
  [10, "primary_storage"],
];

export const listResourceLimits: Command = {
  description: "Lists resource limits.",
  isAsync: false,
  parameters: "resourcetype account domainid projectid page pagesize",
  run(call) {
    const { world, parameters } = call;
    const owner = newOwner(call);
    const wanted = parameters.integer("resourcetype");
    const answers = resourceTypes
      .filter(([number]) => wanted === undefined || number === wanted)
      .map(([number, name]) => ({
        ...ownerFields(world, owner),
        ...{ resourcetype: String(number), resourcetypename: name },
        max: world.limitsOf(owner)[name],
      }));
    return listAnswer(parameters, "resourcelimit", answers);
  },
};

export const listAccounts: Command = {
  description: "Lists accounts and provides detailed account information for listed accounts",
  isAsync: false,
  parameters: "id name domainid listall page pagesize",
  run(call) {
    const { world, parameters } = call;
    const found = visibleAccounts(call).filter(
      ({ id, name }) =>
        (parameters.text("id") ?? id) === id && (parameters.text("name") ?? name) === name,
    );
    return listAnswer(
      parameters,
      "account",
      found.map((account) => accountAnswer(world, account)),
    );
  },
};

function visibleAccounts({ world, account, parameters }: Call): AccountRecord[] {
  const all = account.roleType === "Admin" && parameters.flag("listall") === true;
  return world.catalogue.accounts.filter(({ id }) => all || id === account.id);
}

function accountAnswer(world: World, account: AccountRecord): object {
  const { domains } = world.catalogue;
  const owner = { account: account.name, domainId: account.domainId };
  const names = {
    ...{ user_vm: "vm", volume: "volume", snapshot: "snapshot", cpu: "cpu", memory: "memory" },
    primary_storage: "primarystorage",
  } as const;
  const counted = resourceTypes.flatMap(([, type]) => {
    const limit = world.limitsOf(owner)[type];
    const total = world.usage(owner)[type];
    const text = (value: number) => (limit < 0 ? "Unlimited" : String(value));
    return [
      [`${names[type]}limit`, text(limit)],
      [`${names[type]}total`, total],
      [`${names[type]}available`, text(limit - total)],
    ];
  });
  return {
    ...{ id: account.id, name: account.name, domainid: account.domainId, state: account.state },
    ...{ domain: byId(domains, account.domainId).name, isdefault: false },
    accounttype: { User: 0, Admin: 1, DomainAdmin: 2 }[account.roleType],
    ...{ roletype: account.roleType, rolename: account.roleType },
    ...Object.fromEntries(counted),
    user: [userAnswer(world, account)],
  };
}

function userAnswer(world: World, account: AccountRecord): object {
  const { name, domainId, userId, state } = account;
  return {
    ...{ id: userId, username: name, account: name, accountid: account.id, state },
    ...{ firstname: name, lastname: name, email: `${name}@cloud.lab`, domainid: domainId },
    ...{ domain: byId(world.catalogue.domains, domainId).name, apikey: account.apiKey },
    ...{ roletype: account.roleType, rolename: account.roleType },
  };
}

export const listUsers: Command = {
  description: "Lists user accounts",
  isAsync: false,
  parameters: "id username listall page pagesize",
  run(call) {
    const users = visibleAccounts(call).map((account) => userAnswer(call.world, account));
    return listAnswer(call.parameters, "user", users);
  },
};
