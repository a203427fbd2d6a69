import { openFleet, selectionOf } from "../../fleet/operation.ts";
import type { CommandContext } from "../../report/context.ts";
import { tellNames } from "../../report/names/names.ts";

/** `migratekit fleet resume`: takes a pause back; with --takeover, an operator's word about dead workers. */
export async function run({ config, logger }: CommandContext): Promise<number> {
  const what = selectionOf(config);
  await using store = await openFleet(config, logger);
  const resumed = await store.resume(what);
  if (!config.takeover) return tellNames(config, "resumed", resumed);
  return tellNames(config, "to be taken over", await store.confirmTakeover(what));
}
