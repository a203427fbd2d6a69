/** Search index, views and privileges. */

import type { CallContext, Operation } from "./lab-core.ts";
import { inventoryName } from "./records.ts";
import { isManagedSubtype } from "./schema.ts";
import { requireSession } from "./session-operations.ts";
import type { Session } from "./sessions.ts";
import { invalidArgument, noPermission, objectNotFound } from "./vim-fault.ts";
import { Moref, type VimValue, vimObject } from "./vim-values.ts";

/** Privileges a backup or migration account may be asked about; unknown names are never granted. */
const knownPrivileges = (
  "System.Anonymous System.View System.Read Global.DisableMethods Global.EnableMethods " +
  "Global.Licenses Sessions.ValidateSession Datastore.Browse Datastore.FileManagement " +
  "VirtualMachine.Config.ChangeTracking VirtualMachine.Config.DiskLease " +
  "VirtualMachine.State.CreateSnapshot VirtualMachine.State.RemoveSnapshot " +
  "VirtualMachine.State.RevertToSnapshot VirtualMachine.State.RenameSnapshot " +
  "VirtualMachine.Provisioning.DiskRandomRead VirtualMachine.Provisioning.DiskRandomAccess " +
  "VirtualMachine.Provisioning.GetVmFiles VirtualMachine.Provisioning.PutVmFiles " +
  "VirtualMachine.Interact.PowerOn VirtualMachine.Interact.PowerOff " +
  "VirtualMachine.Interact.GuestControl Cryptographer.Access Cryptographer.RegisterHost"
).split(" ");

/** NoPermission unless the session's user has the privilege (and no fault says otherwise). */
export function requirePrivilege(call: CallContext, object: Moref, privilege: string): Session {
  const session = requireSession(call);
  const denied = call.lab.faults.peek("permissionDenied", { method: call.method });
  if (denied && (denied.value === undefined || denied.value === privilege)) {
    call.lab.faults.take("permissionDenied", { method: call.method });
    throw noPermission(object, privilege);
  }
  if (!session.hasPrivilege(privilege)) throw noPermission(object, privilege);
  return session;
}

function isGranted(call: CallContext, session: Session, privilege: string): boolean {
  const denied = call.lab.faults.peek("permissionDenied", { method: "" });
  const isDenied = denied?.value === privilege;
  return knownPrivileges.includes(privilege) && !isDenied && session.hasPrivilege(privilege);
}

function sessionOfKey(call: CallContext, key: VimValue | undefined): Session {
  const session = call.lab.sessions.all().find((candidate) => candidate.key === key);
  if (!session) throw invalidArgument("sessionId");
  return session;
}

function entityOf(call: CallContext, ref: Moref): Moref {
  if (!call.lab.inventory.entity(ref)) throw objectNotFound(ref);
  return ref;
}

function privilegesFor(call: CallContext, entities: VimValue | undefined, session: Session) {
  const wanted = (call.parameters.privId ?? []) as readonly string[];
  return (entities as readonly Moref[]).map((entity) =>
    vimObject("EntityPrivilege", {
      entity: entityOf(call, entity),
      privAvailability: wanted.map((privId) =>
        vimObject("PrivilegeAvailability", { privId, isGranted: isGranted(call, session, privId) }),
      ),
    }),
  );
}

function byUuid(call: CallContext): Moref[] {
  requireSession(call);
  const { uuid, vmSearch, instanceUuid } = call.parameters;
  if (vmSearch !== true) return [];
  return call.lab.inventory.vms
    .filter(({ record }) => (instanceUuid ? record.instanceUuid : record.biosUuid) === uuid)
    .map((vm) => new Moref("VirtualMachine", vm.moref));
}

export const inventoryOperations: Readonly<Record<string, Operation>> = {
  FindByInventoryPath: (call) => {
    requireSession(call);
    return call.lab.inventory.findByPath(String(call.parameters.inventoryPath))?.ref;
  },

  FindByUuid: (call) => byUuid(call)[0],
  FindAllByUuid: byUuid,

  FindChild: (call) => {
    requireSession(call);
    const entity = call.lab.inventory.entity(call.parameters.entity as Moref);
    if (!entity) throw objectNotFound(call.parameters.entity as Moref);
    return entity.children().find((child) => child.name === call.parameters.name)?.ref;
  },

  FindByDatastorePath: (call) => {
    requireSession(call);
    const file = String(call.parameters.path);
    const vm = call.lab.inventory.vms.find(({ record }) => {
      const directory = inventoryName(record.name).replaceAll(/%../g, "_");
      return file === `[datastore1] ${directory}/${directory}.vmx`;
    });
    return vm && new Moref("VirtualMachine", vm.moref);
  },

  CreateContainerView: (call) => {
    const session = requireSession(call);
    const containerRef = call.parameters.container as Moref;
    const container = call.lab.inventory.entity(containerRef);
    if (!container) throw objectNotFound(containerRef);
    const types = (call.parameters.type ?? []) as readonly string[];
    const recursive = call.parameters.recursive === true;
    const ref = new Moref("ContainerView", `session[${session.key}]view-${call.lab.nextNumber()}`);
    session.views.set(ref.value, {
      ref,
      property: (name) => {
        if (name === "container") return containerRef;
        if (name === "type") return types;
        if (name === "recursive") return recursive;
        if (name !== "view") return undefined;
        // The container is looked up again: a view follows the inventory.
        const now = call.lab.inventory.entity(containerRef);
        const hidden = call.lab.faults.list().filter((fault) => fault.name === "folderHidden");
        return (now ? call.lab.inventory.below(now, recursive) : [])
          .filter((entity) => !hidden.some(({ value }) => value === entity.name))
          .map((entity) => entity.ref)
          .filter(
            (item) => types.length === 0 || types.some((t) => isManagedSubtype(item.type, t)),
          );
      },
    });
    return ref;
  },

  DestroyView: (call) => {
    if (!requireSession(call).views.delete(call.self.value)) throw objectNotFound(call.self);
    return undefined;
  },

  HasPrivilegeOnEntities: (call) => {
    requireSession(call);
    return privilegesFor(
      call,
      call.parameters.entity,
      sessionOfKey(call, call.parameters.sessionId),
    );
  },

  HasPrivilegeOnEntity: (call) => {
    requireSession(call);
    entityOf(call, call.parameters.entity as Moref);
    const session = sessionOfKey(call, call.parameters.sessionId);
    return ((call.parameters.privId ?? []) as readonly string[]).map((privilege) =>
      isGranted(call, session, privilege),
    );
  },

  HasUserPrivilegeOnEntities: (call) => {
    const session = requireSession(call);
    if (call.parameters.userName !== session.user.username) throw invalidArgument("userName");
    return privilegesFor(call, call.parameters.entities, session);
  },

  FetchUserPrivilegeOnEntities: (call) => {
    const session = requireSession(call);
    if (call.parameters.userName !== session.user.username) throw invalidArgument("userName");
    return (call.parameters.entities as readonly Moref[]).map((entity) =>
      vimObject("UserPrivilegeResult", {
        entity: entityOf(call, entity),
        privileges: knownPrivileges.filter((privilege) => isGranted(call, session, privilege)),
      }),
    );
  },
};
