import { exitCodes } from "../../errors.ts";
import { measureTargetDrop } from "../../fleet/target-drop/target-drop.ts";
import { redact } from "../../logger.ts";
import type { CommandContext } from "../../report/context.ts";
import { targetDropDocument, targetDropText } from "../../report/fleet/target-drop.ts";
import { printJson } from "../../report/json/json.ts";

/** `migratekit fleet check-target URI`: how soon a target lets go of a dead worker. Writes nothing. */
export async function run(context: CommandContext): Promise<number> {
  const { config, operands } = context;
  const [uri = ""] = operands;
  const drop = await measureTargetDrop(config, uri, context);
  const exitCode = drop.statedMs === undefined ? exitCodes.target : exitCodes.success;
  if (config.json) printJson(targetDropDocument(drop, exitCode));
  else process.stdout.write(redact(targetDropText(drop)));
  return exitCode;
}
