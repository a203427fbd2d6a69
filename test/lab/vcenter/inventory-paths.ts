/** Folders and vApps of the inventory by their paths below the vm folder. */

import { inventoryName, type VmRecord } from "./records.ts";

/** `Folder/Nested/name` below the vm folder, names as a caller wrote them. */
export function pathBelow(folder: string, name: string): string {
  return folder === "" ? name : `${folder}/${name}`;
}

export function vAppPath({ folder, vApp }: VmRecord): string | undefined {
  return vApp === undefined ? undefined : pathBelow(folder, vApp);
}

/** As the inventory has it. */
export function lastName(path: string): string {
  return inventoryName(path.slice(path.lastIndexOf("/") + 1));
}

export function parentPath(folder: string): string {
  const slash = folder.lastIndexOf("/");
  return slash === -1 ? "" : folder.slice(0, slash);
}
