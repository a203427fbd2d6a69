/** `check --convert`: whether a conversion would find here what it needs, and whether it converts such a guest. */
import type { Config } from "../../config.ts";
import { isWindows, missingGuestTools, refuseUnsupported } from "../../guest/guest.ts";
import type { GuestHardware } from "../../guest-hardware.ts";
import { type Finding, ok, problem, warning } from "./finding.ts";

/** `hardware` is undefined where the VM could not be read. @throws MigratekitError `guest-unsupported` */
export async function checkGuestTools(
  { convert, virtioWin }: Pick<Config, "convert" | "virtioWin">,
  hardware: GuestHardware | undefined,
): Promise<Finding[]> {
  if (!convert) return [];
  if (hardware !== undefined) refuseUnsupported(hardware);
  const windows = hardware !== undefined && isWindows(hardware);
  const missing = await missingGuestTools({
    ...{ windows, boot: true },
    ...(virtioWin === undefined ? {} : { virtioWin }),
    ...(hardware === undefined ? {} : { firmware: hardware.firmware }),
  });
  if (missing.length > 0) {
    return missing.map((error) =>
      error.context.tool === "OVMF"
        ? warning("guest", `${error.message}: 'rehearse --boot' cannot start it`, error.remedy)
        : problem("guest", error),
    );
  }
  return [ok("guest", `all is here that a conversion of ${windows ? "Windows" : "Linux"} needs`)];
}
