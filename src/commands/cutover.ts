import { endpointText, requireSettings } from "../config.ts";
import { exitCodes } from "../errors.ts";
import type { ConversionSummary } from "../migration/convert/convert.ts";
import { type CutoverSummary, runCutover } from "../migration/cutover/cutover.ts";
import type { PowerAtEnd } from "../migration/cutover/source-power.ts";
import { endOverdueRehearsal } from "../migration/rehearse/overdue.ts";
import type { CycleContext, Reporter } from "../migration/vm/held-vm.ts";
import { confirm } from "../report/ask.ts";
import type { CommandContext } from "../report/context.ts";
import { appliedText, conversionText } from "../report/conversion/conversion.ts";
import { checkReportFile, withCutoverReport } from "../report/cutover-report/cutover-report.ts";
import { type Outcome, tellEnding } from "../report/ending/ending.ts";
import { type ReportContext, reported } from "../report/report.ts";
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
  await cutOver(context, { config, logger, signal }, ({ outcome, facts, found }) => {
    const { result } = outcome;
    tellEnding(context, outcome, { facts });
    if (found && !config.json) {
      process.stdout.write(conversionText(found) + appliedText(result ?? {}));
    }
    if (result && !config.json) for (const line of summaryLines(result)) logger.info(line);
  });
  return exitCodes.success;
}

export interface ToldCutover {
  readonly outcome: Outcome<CutoverSummary>;
  /** What its document has besides the ending. */
  readonly facts: object;
  readonly found: ConversionSummary | undefined;
}

/** The cutover itself, under a report. @throws as `runCutover` */
export async function cutOver(
  context: ReportContext,
  run: Omit<CycleContext, "reporter">,
  tell: (told: ToldCutover) => void,
  onReporter: (reporter: Reporter) => void = () => {},
): Promise<void> {
  const { logger } = run;
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
    (reporter) => {
      onReporter(reporter);
      return withCutoverReport(
        context,
        () => runCutover({ ...run, reporter }, options),
        () => power?.text,
      );
    },
    (outcome) => {
      const { result, earlier } = outcome;
      const early = {
        ...(power && { power_state: power.state, power: power.text }),
        ...(found && { conversion: found.conversion }),
      };
      const facts = result ?? { ...early, ...(earlier.length > 0 && { passes: earlier }) };
      tell({ outcome, facts, found });
    },
  );
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
