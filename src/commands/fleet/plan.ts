import type { Config } from "../../config.ts";
import { exitCodes } from "../../errors.ts";
import { type ForecastInput, forecastPlan } from "../../fleet/forecast/forecast.ts";
import {
  countMeasured,
  type MeasuredVms,
  measuredByFleet,
  measuredByInventory,
  measuredByRuns,
  mergeMeasured,
  placesByFleet,
} from "../../fleet/forecast/measured.ts";
import { openFleet } from "../../fleet/operation.ts";
import { PlanMistakes, readFleetPlan } from "../../fleet/plan/plan.ts";
import { redact } from "../../logger.ts";
import type { CommandContext } from "../../report/context.ts";
import { planDocument, vmDocument } from "../../report/fleet-plan/document.ts";
import { fleetPlanText } from "../../report/fleet-plan/fleet-plan.ts";
import { printJsonWithList } from "../../report/json/json.ts";
import { sheetOf } from "../../report/table.ts";
import { State } from "../../state/state.ts";

/** Of one plan; the others are counted. */
const mistakesShown = 20;

/** `migratekit fleet plan FILE`: whether a plan can be, and what it would come to. Changes nothing. */
export async function run({ config, flags, logger, operands }: CommandContext): Promise<number> {
  const [file = ""] = operands;
  const plan = readPlan();
  const recorded = config.fleetDatabase === undefined ? undefined : await readRecorded();
  const byFleet = measuredByFleet(recorded ?? []);
  const input: ForecastInput = {
    plan,
    // Runs measured what an inventory reckons; those of the fleet are the newer ones.
    measured: mergeMeasured(placesByFleet(recorded ?? []), measuredHere(config), byFleet),
    assumptions: {
      bytesPerSecond: config.assumeRate,
      changedPerDay: config.assumeChange,
      fullBytes: config.assumeSize,
      downtimeMs: config.assumeDowntime,
    },
    crew: {
      workers: config.workers,
      parallelVms: config.parallelVms,
      linkBytesPerSecond: config.linkRate ?? 0,
    },
    startAt: config.start ?? Date.now(),
  };
  const forecast = forecastPlan(input);
  const counts = recorded && countMeasured(plan, byFleet);
  const document = planDocument(file, input, forecast, counts);
  if (config.json) printJsonWithList(document, "vms", forecast.vms.map(vmDocument));
  else process.stdout.write(redact(fleetPlanText(document, sheetOf(config))));
  return exitCodes.success;

  async function readRecorded() {
    await using store = await openFleet(config, logger);
    return await store.recorded();
  }

  function readPlan() {
    try {
      return readFleetPlan(file, flags);
    } catch (error) {
      // The error itself tells of one.
      if (error instanceof PlanMistakes && error.mistakes.length > 1) {
        for (const { message } of error.mistakes.slice(0, mistakesShown)) logger.error(message);
      }
      throw error;
    }
  }
}

function measuredHere(config: Config): MeasuredVms {
  using state = State.openExisting(config.stateDir);
  const inventories = (config.inventory ?? []).map(measuredByInventory);
  return mergeMeasured(...inventories, ...(state === undefined ? [] : [measuredByRuns(state)]));
}
