import { openFleet, selectionOf } from "../../fleet/operation.ts";
import type { CommandContext } from "../../report/context.ts";
import { tellNames } from "../../report/names/names.ts";

/** `migratekit fleet cutover`: asks for cutovers, or takes that back. */
export async function run({ config, logger }: CommandContext): Promise<number> {
  const what = selectionOf(config);
  await using store = await openFleet(config, logger);
  if (config.cancel) {
    return tellNames(config, "not to be cut over any more", await store.cancelCutover(what));
  }
  return tellNames(config, "to be cut over", await store.cutover(what));
}
