import { openFleet, selectionOf } from "../../fleet/operation.ts";
import type { CommandContext } from "../../report/context.ts";
import { tellNames } from "../../report/names/names.ts";

/** `migratekit fleet retry`: out of the dead letter, or of a pause after an error. */
export async function run({ config, logger }: CommandContext): Promise<number> {
  const what = selectionOf(config);
  await using store = await openFleet(config, logger);
  return tellNames(config, "to be tried again", await store.retry(what));
}
