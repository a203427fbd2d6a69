/** Machines listed, and changed while they are off. */

import { ApiError, apiErrorCodes, parameterError } from "../api/api-error.ts";
import type { InstanceRecord } from "../world/records.ts";
import { byId, instanceAnswer } from "./answers.ts";
import {
  type Call,
  type Command,
  containsText,
  isListed,
  listAnswer,
  sameText,
} from "./command.ts";
import { findInstance } from "./find.ts";
import { hasTags } from "./tags.ts";

export const listVirtualMachines: Command = {
  description: "List the virtual machines owned by the account.",
  isAsync: false,
  parameters:
    "id ids name keyword state zoneid networkid templateid details tags listall projectid page pagesize",
  run(call) {
    const { world, account, parameters } = call;
    if (parameters.text("id") !== undefined) findInstance(call);
    const asked = {
      ids: parameters.list("ids") ?? parameters.list("id"),
      name: parameters.text("name"),
      keyword: parameters.text("keyword"),
      state: parameters.text("state"),
      zone: parameters.text("zoneid"),
      network: parameters.text("networkid"),
      template: parameters.text("templateid"),
    };
    const found = world.standing.filter(
      (vm) =>
        isListed(call, vm.owner) &&
        isShown(call, vm) &&
        (asked.ids === undefined || asked.ids.includes(vm.id)) &&
        (asked.name === undefined || containsText(vm.name, asked.name)) &&
        (asked.keyword === undefined ||
          containsText(vm.name, asked.keyword) ||
          containsText(vm.displayName, asked.keyword)) &&
        (asked.state === undefined || sameText(vm.state, asked.state)) &&
        (asked.zone === undefined || vm.zoneId === asked.zone) &&
        (asked.template === undefined || vm.templateId === asked.template) &&
        (asked.network === undefined || vm.nics.some((nic) => nic.networkId === asked.network)) &&
        hasTags(call, vm.id),
    );
    const minimal = parameters.list("details")?.every((each) => sameText(each, "min"));
    return listAnswer(
      parameters,
      "virtualmachine",
      found.map((vm) => {
        const answer = instanceAnswer(world, vm, account);
        return minimal ? { ...answer, nic: [], details: undefined } : answer;
      }),
    );
  },
};

/** A destroyed one holds its name and addresses, and most users do not see it. */
function isShown({ world, account }: Call, { state }: InstanceRecord): boolean {
  const gone = state === "Destroyed" || state === "Expunging";
  return !gone || account.roleType === "Admin" || world.settings.usersSeeDestroyed;
}

export const updateVirtualMachine: Command = {
  description: "Updates properties of a virtual machine.",
  isAsync: false,
  parameters: "id* displayname details cleanupdetails ostypeid",
  run(call) {
    const { world, account, parameters } = call;
    const vm = findInstance(call);
    world.checkOwned(account, vm.owner, `virtual machine ${vm.id}`);
    const details = parameters.map("details");
    const isAdmin = account.roleType === "Admin";
    const osType = parameters.text("ostypeid");
    if (Object.keys(details).length > 0) {
      const refused = Object.keys(details).find(
        (name) => !isAdmin && world.settings.readOnlyDetails.includes(name),
      );
      if (refused && details[refused] !== vm.details[refused])
        throw parameterError(`You're not allowed to add or edit the read-only setting: ${refused}`);
      // What is not told again is gone, but for what the user could not have told.
      const kept = Object.entries(vm.details).filter(
        ([name]) => !isAdmin && world.settings.readOnlyDetails.includes(name),
      );
      vm.details = { ...details, ...Object.fromEntries(kept) };
    } else if (parameters.flag("cleanupdetails") === true) {
      vm.details = {};
    }
    if (osType !== undefined) {
      if (!isAdmin)
        throw new ApiError(
          apiErrorCodes.account,
          "Only an administrator may change the guest OS type",
        );
      vm.osTypeId = byId(world.catalogue.osTypes, osType).id;
    }
    vm.displayName = parameters.text("displayname") ?? vm.displayName;
    return { virtualmachine: instanceAnswer(world, vm, account) };
  },
};
