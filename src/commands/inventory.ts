import { exitCodes, MigratekitError } from "../errors.ts";
import { redact } from "../logger.ts";
import { type Inventory, readInventory } from "../migration/inventory/inventory.ts";
import { InvalidValue, inventoryPath } from "../option-types.ts";
import type { CommandContext } from "../report/context.ts";
import { csvLines } from "../report/inventory/csv.ts";
import { inventoryText } from "../report/inventory/inventory.ts";
import { checkPlanPlace, type WrittenPlan, writePlan } from "../report/inventory/plan.ts";
import { totalsOf } from "../report/inventory/totals.ts";
import { printJsonWithList } from "../report/json/json.ts";
import { sheetOf } from "../report/table.ts";
import { counted } from "../text.ts";

/** `migratekit inventory`: which VMs there are, and what keeps them from being migrated. Changes nothing. */
export async function run(context: CommandContext): Promise<number> {
  const { config } = context;
  const path = pathOf(context.operands[0]);
  if (config.json && config.csv) {
    throw new MigratekitError("usage", "--json and --csv exclude each other");
  }
  checkPlanPlace(config);
  const inventory = await readInventory(context, path);
  const plan = writePlan(config, inventory);
  if (config.json) printDocument(inventory, plan);
  else if (config.csv) {
    for (const line of csvLines(inventory.vms)) process.stdout.write(redact(line));
  } else process.stdout.write(redact(inventoryText(inventory, sheetOf(config))));
  if (plan && !config.json) {
    const next = `migratekit migrate --vms ${plan.file}`;
    context.logger.info(
      `${plan.file}: ${counted(plan.vm_count, "VM")}, to be completed for '${next}'`,
    );
  }
  return exitCodes.success;
}

/** `/` is everything. @throws MigratekitError `usage` */
function pathOf(given: string | undefined): string | undefined {
  if (given === undefined || /^\/+$/.test(given)) return undefined;
  try {
    return inventoryPath(given);
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error;
    throw new MigratekitError("usage", `the path ${error.message}`);
  }
}

function printDocument(inventory: Inventory, plan: WrittenPlan | undefined): void {
  const { endpoint, endpointUuid, product, below, listedAt, findings, vms } = inventory;
  const listed = { endpoint, endpoint_uuid: endpointUuid, product, below, listed_at: listedAt };
  printJsonWithList({ ...listed, ...totalsOf(vms), findings, plan }, "vms", vms);
}
