import { exitCodes } from "../../errors.ts";
import { openFleet } from "../../fleet/operation.ts";
import type { CommandContext } from "../../report/context.ts";
import { printJson } from "../../report/json/json.ts";

/** `migratekit fleet init`: the fleet's tables, made or upgraded. */
export async function run({ config, logger }: CommandContext): Promise<number> {
  const { leaseTime, takeoverGrace, workerRole, restored } = config;
  await using store = await openFleet(config, logger);
  const { version, upgradedFrom, warnings } = await store.init({
    ...(leaseTime === undefined ? {} : { ttlMs: leaseTime }),
    ...(takeoverGrace === undefined ? {} : { graceMs: takeoverGrace }),
    ...(workerRole === undefined ? {} : { workerRole }),
    restored,
  });
  for (const warning of warnings) logger.warn(warning);
  if (config.json) {
    printJson({
      status: "completed",
      exit_code: exitCodes.success,
      schema_version: version,
      upgraded_from: upgradedFrom,
      worker_role: workerRole,
      warnings,
    });
    return exitCodes.success;
  }
  const upgraded = upgradedFrom === undefined ? "" : `, upgraded from ${upgradedFrom}`;
  const role = workerRole === undefined ? "" : `; ${workerRole} may work for it`;
  process.stdout.write(`the fleet's schema has version ${version}${upgraded}${role}\n`);
  return exitCodes.success;
}
