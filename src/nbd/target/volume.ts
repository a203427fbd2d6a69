/**
 * CloudStack's volumes as exports. Their export is called as their id, which nothing else has: it tells
 * the volume wherever and by whatever server it is reached.
 */
import { isUuid } from "../../uuid.ts";

/** The name of such an export's volume for state and locks; undefined for any other export. */
export function volumeName(exportName: string): string | undefined {
  return isUuid(exportName) ? `cloudstack-volume:${exportName.toLowerCase()}` : undefined;
}

/** The id of the volume that a target of this identity (uri.ts) is. */
export function volumeIdOf(identity: string): string | undefined {
  const name = identity.slice(identity.indexOf("#") + 1);
  return isUuid(name) ? name.toLowerCase() : undefined;
}
