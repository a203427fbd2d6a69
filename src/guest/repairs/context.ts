import { dirname } from "node:path";
import type { Logger } from "pino";
import type { Guestfish } from "../guestfish/guestfish.ts";
import type { Inspected } from "../inspect/inspect.ts";
import type { GuestHardware } from "../machine.ts";

/** What every repair works on. */
export interface RepairContext {
  readonly guestfish: Guestfish;
  readonly inspected: Inspected;
  readonly hardware: GuestHardware;
  readonly logger: Logger;
}

/**
 * A file that the guest had not. It gets its folder's SELinux label: without one, what reads it in the
 * guest might not be allowed to.
 */
export async function addFile(guestfish: Guestfish, path: string, content: string): Promise<void> {
  const folder = dirname(path);
  await guestfish.run("mkdir-p", folder);
  await guestfish.writeFile(path, content);
  await guestfish.run("chmod", "0644", path);
  const label = (await guestfish.attempt("getxattr", folder, "security.selinux"))?.replace(
    /\n$/,
    "",
  );
  if (label) {
    const bytes = String(Buffer.byteLength(label));
    await guestfish.attempt("setxattr", "security.selinux", label, bytes, path);
  }
}

/** Files directly in a folder; none where there is no such folder. */
export async function filesIn(guestfish: Guestfish, folder: string): Promise<string[]> {
  if (!(await guestfish.isTrue("is-dir", folder))) return [];
  return guestfish.lines("ls", folder);
}
