import { endpointText, requireSettings } from "../config.ts";
import { exitCodes } from "../errors.ts";
import { type CutoverSummary, type OnEarlyEnd, runCutover } from "../migration/cutover/cutover.ts";
import { confirm } from "../report/ask.ts";
import type { CommandContext } from "../report/context.ts";
import { printFailure, printJson } from "../report/json/json.ts";
import { reported } from "../report/report.ts";
import { counted, formatDuration } from "../text.ts";

/** `migratekit cutover`: the only command that may power a VM off. */
export async function run(context: CommandContext): Promise<number> {
  const { config, logger, signal } = context;
  requireSettings(config, "vmware-endpoint", "vmware-username", "vmware-password", "vmware-path");
  if (!config.yes) {
    const last = config.forcePowerOff ? "shut down, if need be by force," : "shut down";
    await confirm(
      `${config.vmwarePath} at ${endpointText(config)} will be synced, ${last} and left off.`,
      signal,
    );
  }
  let power: Parameters<OnEarlyEnd>[0] | undefined;
  const onEarlyEnd: OnEarlyEnd = (found) => {
    power = found;
    logger.warn({ powerState: found.state }, found.text);
  };
  try {
    const summary = await reported(context, (reporter) =>
      runCutover({ config, logger, signal, reporter }, onEarlyEnd),
    );
    if (config.json) printJson({ status: "completed", exit_code: exitCodes.success, ...summary });
    else for (const line of summaryLines(summary)) logger.info(line);
    return exitCodes.success;
  } catch (error) {
    if (config.json) {
      printFailure(error, power && { power_state: power.state, power: power.text });
    }
    throw error;
  }
}

function summaryLines({ vm, passes, downtime_ms, forced }: CutoverSummary): string[] {
  const hard = forced ? ", hard, as its guest did not shut down" : "";
  return [
    `${vm.path} is powered off${hard}, and its targets hold its last state ` +
      `(${counted(passes.length + 1, "sync")}, ${formatDuration(downtime_ms / 1000)} from the shutdown to the end)`,
    "To go back: power the VM on in vSphere, after the new one is off; the source was not changed",
  ];
}
