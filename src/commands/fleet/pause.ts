import { openFleet, selectionOf } from "../../fleet/operation.ts";
import type { CommandContext } from "../../report/context.ts";
import { tellNames } from "../../report/names/names.ts";

/** `migratekit fleet pause`: no run begins, syncs are asked to stop. */
export async function run({ config, logger }: CommandContext): Promise<number> {
  const what = selectionOf(config);
  await using store = await openFleet(config, logger);
  return tellNames(config, "paused", await store.pause(what));
}
