/** Which privileges the logged-in account lacks on an object. */

import type { Session } from "./session.ts";
import { argumentReference } from "./soap-channel.ts";
import { boolean, list, type ObjectReference, protocolError, text } from "./values.ts";

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
