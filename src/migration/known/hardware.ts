import { MigratekitError } from "../../errors.ts";
import type { GuestHardware } from "../../guest-hardware.ts";
import { isByHand, type KnownVm } from "./known.ts";

/** What flags say beats what vSphere said. */
export function hardwareOf({
  config,
  identity,
  state,
}: Pick<KnownVm, "config" | "identity" | "state">): GuestHardware {
  const known = state.machines.readHardware(identity);
  if (known === undefined && !isByHand(identity) && config.firmware === undefined) {
    throw new MigratekitError(
      "usage",
      `it is not known what ${identity.vmPath} is made of: its last run was one of an older migratekit`,
      { remedy: "Run 'migratekit migrate' once more, or give --firmware and --mac." },
    );
  }
  return {
    ...(known ?? {
      name: identity.vmPath.split("/").at(-1) ?? "guest",
      secureBoot: false,
      cpus: 2,
      memoryMiB: 2048,
      nics: [],
    }),
    firmware: config.firmware ?? known?.firmware ?? "bios",
    ...(config.mac === undefined ? {} : { nics: config.mac }),
  };
}
