/** What a conversion will need, found out before the machine is down. */
import { isWindows, refuseUnsupported, requireGuestTools } from "../../guest/guest.ts";
import { withUndo } from "../../undo.ts";
import { checkKeyFiles, findLuksKeys } from "../known/luks-keys.ts";
import { findSyncedDisks } from "../known/synced.ts";
import type { HeldVm } from "../vm/held-vm.ts";

/** @throws MigratekitError `guest-tool-missing`, `guest-unsupported`, `usage` */
export async function requireTools({ config, site }: HeldVm): Promise<void> {
  const { hardware } = site.vm;
  refuseUnsupported(hardware);
  await checkKeyFiles(config);
  await requireGuestTools({
    windows: isWindows(hardware),
    firmware: hardware.firmware,
    ...(config.virtioWin === undefined ? {} : { virtioWin: config.virtioWin }),
  });
}

/**
 * What nothing opens: the targets hold all but the last changes by now.
 * @throws MigratekitError `guest-encrypted`, `guest-unsupported`, `target-…`
 */
export async function requireKeys(held: HeldVm): Promise<void> {
  await withUndo(held.logger, async (undo) => {
    const { disks } = await findSyncedDisks({ ...held, conversion: undefined, runId: "" }, undo);
    await findLuksKeys(disks, held.config.luksKey ?? [], held.signal);
  });
}
