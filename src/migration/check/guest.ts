/** `check --convert`: whether a conversion would find here what it needs. */
import type { Config } from "../../config.ts";
import { isWindows, missingGuestTools } from "../../guest/guest.ts";
import type { GuestHardware } from "../../guest-hardware.ts";
import { type Finding, ok, problem } from "./finding.ts";

/** `hardware` is undefined where the VM could not be read. */
export async function checkGuestTools(
  { convert, virtioWin }: Pick<Config, "convert" | "virtioWin">,
  hardware: GuestHardware | undefined,
): Promise<Finding[]> {
  if (!convert) return [];
  const windows = hardware !== undefined && isWindows(hardware);
  const missing = await missingGuestTools({
    windows,
    ...(virtioWin === undefined ? {} : { virtioWin }),
    ...(hardware === undefined ? {} : { firmware: hardware.firmware }),
  });
  if (missing.length > 0) return missing.map((error) => problem("guest", error));
  return [ok("guest", `all is here that a conversion of ${windows ? "Windows" : "Linux"} needs`)];
}
