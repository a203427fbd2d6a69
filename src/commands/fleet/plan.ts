import { exitCodes } from "../../errors.ts";
import { readVmList } from "../../migration/list/read-list.ts";
import type { CommandContext } from "../../report/context.ts";
import { printJson } from "../../report/json/json.ts";
import { counted } from "../../text.ts";

/** `migratekit fleet plan FILE`: whether a plan can be, and what it would come to. Changes nothing. */
export async function run({ config, flags, operands }: CommandContext): Promise<number> {
  const [file = ""] = operands;
  const vms = readVmList(file, flags).vms;
  if (config.json) printJson({ file, vm_count: vms.length });
  else process.stdout.write(`${file}: ${counted(vms.length, "VM")}\n`);
  return exitCodes.success;
}
