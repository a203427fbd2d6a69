import { exitCodes } from "../errors.ts";
import { endOverdueRehearsal } from "../migration/rehearse/overdue.ts";
import { type RollbackSummary, runRollback } from "../migration/rollback/rollback.ts";
import type { CommandContext } from "../report/context.ts";
import { printJson } from "../report/json/json.ts";
import { reported, withoutSync } from "../report/report.ts";
import { formatBytes } from "../text.ts";

/** `migratekit rollback`: the machine in CloudStack, and the old bytes of a conversion, are undone. */
export async function run(context: CommandContext): Promise<number> {
  const { logger, signal } = context;
  const config = withoutSync(context.config);
  await endOverdueRehearsal({ config, logger, signal });
  const summary = await reported({ ...context, config }, (reporter) =>
    runRollback({ config, logger, signal, reporter }),
  );
  if (config.json) printJson({ status: "completed", ...summary });
  else for (const line of linesOf(summary)) process.stdout.write(`${line}\n`);
  return exitCodes.success;
}

function linesOf(summary: RollbackSummary): string[] {
  const { vm, instance, kept = [], disks, repaired_bytes, next_sync, powered_on } = summary;
  const restored = disks.map(
    ({ disk_id, restored_bytes }) =>
      `${disk_id}: ${formatBytes(restored_bytes)} are as before, proved by digest`,
  );
  return [
    ...(instance ? [`${instance.name} is gone from CloudStack, and its volumes are back`] : []),
    ...kept.map(
      ({ disk_id, name, id }) => `${disk_id} of it is kept as the volume ${name} (${id})`,
    ),
    ...restored,
    ...(repaired_bytes === undefined
      ? []
      : [`compared with the source: ${formatBytes(repaired_bytes)} differed and are copied again`]),
    ...(powered_on === undefined ? [] : [`${vm.path} is powered on in vSphere`]),
    next_sync === "full"
      ? `syncs of ${vm.path} go on, the next one in full: what ${instance?.name} wrote is on its volumes still`
      : `the targets of ${vm.path} hold their last sync again; syncs go on`,
  ];
}
