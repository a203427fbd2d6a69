import type { Guestfish } from "../guestfish/guestfish.ts";
import { Hive } from "./hive.ts";
import type { Inspected } from "./inspect.ts";

/** Which Windows it is, by its registry. */
export interface WindowsRelease {
  readonly build?: number;
  readonly isServer: boolean;
  /** libguestfs's word for it, by which virt-v2v chooses drivers: win2k22, win11. */
  readonly takenFor?: string;
}

export async function readWindowsRelease(
  guestfish: Guestfish,
  { root, systemRoot = "/Windows" }: Inspected,
): Promise<WindowsRelease> {
  const software = await Hive.open(guestfish, `${systemRoot}/System32/config/SOFTWARE`);
  const version = await software?.key("Microsoft", "Windows NT", "CurrentVersion");
  const text = async (name: string) =>
    software && version ? (await software.texts(version, name))[0] : undefined;
  const build = Number(await text("CurrentBuildNumber")) || Number(await text("CurrentBuild"));
  const takenFor = (await guestfish.attempt("inspect-get-osinfo", root))?.trim();
  return {
    ...(build > 0 ? { build } : {}),
    isServer: /^server/i.test((await text("InstallationType")) ?? ""),
    ...(takenFor ? { takenFor } : {}),
  };
}
