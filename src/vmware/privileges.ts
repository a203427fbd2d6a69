/** What stands between the account and an operation: privileges, and the edition that is licensed. */

import { retrieveObject } from "./wire/retrieve-properties.ts";
import { argumentReference } from "./wire/soap-channel.ts";
import {
  boolean,
  list,
  type ObjectReference,
  optionalObject,
  protocolError,
  text,
} from "./wire/values.ts";
import type { Session } from "./wire/wire.ts";

/** Those of `names` (`VirtualMachine.State.CreateSnapshot` …) that are not granted, in the order given. */
export async function missingPrivileges(
  session: Session,
  { type, moref }: ObjectReference,
  names: readonly string[],
): Promise<string[]> {
  const manager = session.content.authorizationManager;
  if (!manager) throw protocolError(`${session.endpoint} has no authorization manager`);
  await session.reachable(); // a login after a lost session changes the key that is sent below
  const answer = await session.read("HasPrivilegeOnEntities", {
    _this: argumentReference(manager.type, manager.moref),
    entity: [argumentReference(type, moref)],
    sessionId: session.key,
    privId: names,
  });
  const granted = new Set<string>();
  for (const entity of list(answer, "returnval"))
    for (const privilege of list(entity, "privAvailability"))
      if (boolean(privilege, "isGranted")) granted.add(text(privilege, "privId"));
  return names.filter((name) => !granted.has(name));
}

/**
 * Edition keys of the installed licences. `esxBasic` is the free hypervisor's, whose host refuses snapshots
 * over the API. Empty when the account may not see them, which is usual on a vCenter.
 */
export async function readLicenseEditions(session: Session): Promise<string[]> {
  const manager = session.content.licenseManager;
  if (!manager) return [];
  const found = await retrieveObject(session, manager, ["licenses"]);
  if (!found.has("licenses")) return [];
  const licenses = optionalObject(found.get("licenses"), "val");
  return list(licenses, "LicenseManagerLicenseInfo").map((license) => text(license, "editionKey"));
}
