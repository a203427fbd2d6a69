import { endpointText, requireSettings } from "../config.ts";
import { exitCodes } from "../errors.ts";
import type { ConversionSummary } from "../migration/convert/convert.ts";
import { type CutoverSummary, runCutover } from "../migration/cutover/cutover.ts";
import type { PowerAtEnd } from "../migration/cutover/source-power.ts";
import { endOverdueRehearsal } from "../migration/rehearse/overdue.ts";
import { confirm } from "../report/ask.ts";
import type { CommandContext } from "../report/context.ts";
import { appliedText, conversionText } from "../report/conversion/conversion.ts";
import { checkReportFile, withCutoverReport } from "../report/cutover-report/cutover-report.ts";
import { tellEnding } from "../report/ending/ending.ts";
import { reported } from "../report/report.ts";
import { counted, formatDuration } from "../text.ts";

/** `migratekit cutover`: the only command that may power a VM off. */
export async function run(context: CommandContext): Promise<number> {
  const { config, logger, signal } = context;
  requireSettings(config, "vmware-endpoint", "vmware-username", "vmware-password", "vmware-path");
  checkReportFile(config);
  await endOverdueRehearsal(context);
  if (!config.yes) {
    const last = config.forcePowerOff ? "shut down, if need be by force," : "shut down";
    await confirm(
      `${config.vmwarePath} at ${endpointText(config)} will be synced, ${last} and left off${config.deploy ? ", and its volumes become a machine in CloudStack" : ""}.`,
      signal,
    );
  }
  let power: PowerAtEnd | undefined;
  let found: ConversionSummary | undefined;
  const options = {
    onEarlyEnd(at: PowerAtEnd) {
      power = at;
      logger.warn({ powerState: at.state }, at.text);
    },
    onVerdict(verdict: ConversionSummary) {
      found = verdict;
    },
  };
  await reported(
    context,
    (reporter) =>
      withCutoverReport(
        context,
        () => runCutover({ config, logger, signal, reporter }, options),
        () => power?.text,
      ),
    (outcome) => {
      const { result, earlier } = outcome;
      const early = {
        ...(power && { power_state: power.state, power: power.text }),
        ...(found && { conversion: found.conversion }),
      };
      const facts = result ?? { ...early, ...(earlier.length > 0 && { passes: earlier }) };
      tellEnding(context, outcome, { facts });
      if (found && !config.json) {
        process.stdout.write(conversionText(found) + appliedText(result ?? {}));
      }
      if (result && !config.json) for (const line of summaryLines(result)) logger.info(line);
    },
  );
  return exitCodes.success;
}

function summaryLines(summary: CutoverSummary): string[] {
  const { vm, passes, downtime_ms, forced, conversion, instance } = summary;
  const hard = forced ? ", hard, as its guest did not shut down" : "";
  const spent = formatDuration(downtime_ms / 1000);
  const time = `${counted(passes.length + 1, "sync")}, ${spent} from the shutdown to the end`;
  if (instance !== undefined) {
    const addresses = instance.nics.flatMap(({ address }) => address ?? []);
    const where = addresses.length === 0 ? "" : ` at ${addresses.join(", ")}`;
    return [
      `${vm.path} is powered off${hard}, and ${instance.name} lives in CloudStack${where}: ${instance.alive} (${time})`,
      "To go back: 'migratekit rollback'; it ends the machine in CloudStack first. Both must never run",
    ];
  }
  const state = conversion === undefined ? "its last state" : "its converted guest";
  const back =
    conversion === undefined
      ? ""
      : "; 'migratekit rollback' brings back what the conversion changed";
  return [
    `${vm.path} is powered off${hard}, and its targets hold ${state} (${time})`,
    `To go back: power the VM on in vSphere, after the new one is off; the source was not changed${back}`,
  ];
}
