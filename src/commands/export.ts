import { runExport } from "../migration/export/export.ts";
import type { CommandContext } from "../report/context.ts";
import { printJson } from "../report/json/json.ts";

/** `migratekit export`: goes on until a signal. */
export async function run({ config, logger, signal }: CommandContext): Promise<number> {
  return await runExport({ config, logger, signal }, () => {
    const { host, port } = config.listen;
    if (config.json) printJson({ status: "ready", host, port });
    else logger.info("ready");
  });
}
