import { exitCodes } from "../errors.ts";
import { runRollback } from "../migration/convert/rollback.ts";
import type { CommandContext } from "../report/context.ts";
import { printJson } from "../report/json/json.ts";
import { reported, withoutSync } from "../report/report.ts";
import { formatBytes } from "../text.ts";

/** `migratekit rollback`: the old bytes of a conversion are brought back. */
export async function run(context: CommandContext): Promise<number> {
  const { logger, signal } = context;
  const config = withoutSync(context.config);
  const summary = await reported({ ...context, config }, (reporter) =>
    runRollback({ config, logger, signal, reporter }),
  );
  if (config.json) {
    printJson({ status: "completed", ...summary });
    return exitCodes.success;
  }
  for (const { disk_id, restored_bytes } of summary.disks) {
    process.stdout.write(
      `${disk_id}: ${formatBytes(restored_bytes)} are as before, proved by digest\n`,
    );
  }
  process.stdout.write(
    `the targets of ${summary.vm.path} hold their last sync again; syncs go on\n`,
  );
  return exitCodes.success;
}
