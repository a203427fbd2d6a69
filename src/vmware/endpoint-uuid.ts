/** What tells one endpoint from every other, whatever address it is reached by. */

import { isVimFault } from "./wire/faults.ts";
import { retrieveObject } from "./wire/retrieve-properties.ts";
import { optionalText } from "./wire/values.ts";
import type { Session } from "./wire/wire.ts";

/** On an ESXi host itself the host always goes by this name. */
const ownHost = { type: "HostSystem", moref: "ha-host" } as const;
const hardwareUuid = "hardware.systemInfo.uuid";

/**
 * A vCenter's instance UUID, an ESXi host's hardware UUID; lower case. Undefined where the endpoint
 * has none to tell, or not to this account.
 */
export async function readEndpointUuid(session: Session): Promise<string | undefined> {
  const { apiType, instanceUuid } = session.content.about;
  const uuid = apiType === "VirtualCenter" ? instanceUuid : await readHardwareUuid(session);
  // Boards without one of their own say zeroes.
  return /[1-9a-f]/i.test(uuid) ? uuid.toLowerCase() : undefined;
}

async function readHardwareUuid(session: Session): Promise<string> {
  try {
    const host = await retrieveObject(session, ownHost, [hardwareUuid]);
    return (host.has(hardwareUuid) && optionalText(host.get(hardwareUuid), "val")) || "";
  } catch (error) {
    if (isVimFault(error, "NoPermission", "ManagedObjectNotFound")) return "";
    throw error;
  }
}
