import { exitCodes } from "../../errors.ts";
import type { AppliedPlan } from "../../fleet/database/store.ts";
import { openFleet } from "../../fleet/operation.ts";
import { readFleetPlan } from "../../fleet/plan/plan.ts";
import { redact } from "../../logger.ts";
import type { CommandContext } from "../../report/context.ts";
import { printJson } from "../../report/json/json.ts";
import { namesText } from "../../report/names/names.ts";
import { counted } from "../../text.ts";

/** `migratekit fleet apply FILE`: makes a plan the fleet's. */
export async function run({ config, logger, flags, operands }: CommandContext): Promise<number> {
  const [file = ""] = operands;
  const plan = readFleetPlan(file, flags);
  await using store = await openFleet(config, logger);
  const applied = await store.apply(plan);
  if (plan.targetDropMs === undefined) {
    logger.warn(
      "the plan states no target-drop-time: what a dead worker held waits for 'fleet resume --takeover'",
    );
  }
  if (config.json) {
    printJson({ status: "completed", exit_code: exitCodes.success, file, ...applied });
  } else {
    process.stdout.write(redact(`${appliedText(applied)}\n`));
  }
  return exitCodes.success;
}

function appliedText({ added, changed, unchanged, released, stopping }: AppliedPlan): string {
  const lines = [
    ...(added.length > 0 ? [`added ${namesText(added)}`] : []),
    ...(changed.length > 0 ? [`changed ${namesText(changed)}`] : []),
    ...(released.length > 0 ? [`let go ${namesText(released)}`] : []),
    ...(stopping.length > 0 ? [`of these, asked to stop: ${namesText(stopping)}`] : []),
    `unchanged ${counted(unchanged, "VM")}`,
  ];
  return lines.join("\n");
}
