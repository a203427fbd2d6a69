/** `--plan FILE`: an inventory as a list for `migrate --vms`, to be looked through and completed. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { stringify } from "yaml";
import { type Config, endpointText } from "../../config.ts";
import { MigratekitError } from "../../errors.ts";
import { redact } from "../../logger.ts";
import type { Finding } from "../../migration/check/finding.ts";
import type { Inventory } from "../../migration/inventory/inventory.ts";
import {
  busAddress,
  type InventoryDisk,
  type InventoryRow,
} from "../../migration/inventory/row.ts";
import { type PlannedTargets, planTargets } from "../../migration/inventory/targets.ts";
import { keyOf } from "../../migration/vm/disks.ts";
import { checkReplaceable, createFile, replaceFile, writeFor } from "../../replace-file.ts";
import { counted, formatBytes, oneLine } from "../../text.ts";
import { totalsOf } from "./totals.ts";

/** No NBD URI, so that `migrate` refuses the list, naming line and disk, until it is replaced. */
export const openTarget = "TARGET-TO-BE-FILLED-IN";

export interface WrittenPlan {
  readonly file: string;
  /** VMs that it holds. */
  readonly vm_count: number;
}

/** Whether the file may be written, before the time is spent that an inventory takes. @throws MigratekitError `usage` */
export function checkPlanPlace({ plan, planTarget, replacePlan }: Config): void {
  if (plan === undefined) {
    const [stray] = [planTarget && "--plan-target", replacePlan && "--replace-plan"].filter(
      Boolean,
    );
    if (stray)
      throw new MigratekitError("usage", `${stray} says something of --plan, which is missing`);
    return;
  }
  if (existsSync(plan) && !replacePlan) throw isThere(plan);
  inWords(plan, () => checkReplaceable(plan));
}

/** @throws MigratekitError `usage` */
export function writePlan(config: Config, inventory: Inventory): WrittenPlan | undefined {
  const { plan: file, planTarget, replacePlan } = config;
  if (file === undefined) return undefined;
  const planned = plannedOf(inventory.vms);
  const targets = planTarget === undefined ? undefined : planTargets(planned, planTarget);
  const text = redact(planText(config, inventory, planned, targets));
  inWords(file, () => (replacePlan ? replaceFile : createFile)(file, () => text));
  return { file, vm_count: planned.length };
}

/** Those that a list can name: nothing blocks them, and no other has their path. */
function plannedOf(vms: readonly InventoryRow[]): InventoryRow[] {
  const byPath = Map.groupBy(vms, ({ vm_path }) => vm_path);
  return vms.filter(({ blocked, vm_path }) => !blocked && byPath.get(vm_path)!.length === 1);
}

function isThere(plan: string): MigratekitError {
  return new MigratekitError("usage", `--plan ${plan}: there is such a file already`, {
    remedy: "Name another file; --replace-plan replaces it.",
  });
}

function inWords(plan: string, write: () => void): void {
  const remedy =
    "Name a new file in a folder that the account which migratekit runs as may write to.";
  writeFor({ flag: "--plan", path: plan, remedy }, write);
}

function planText(
  config: Config,
  { endpoint, below, findings, vms }: Inventory,
  planned: readonly InventoryRow[],
  targets: readonly PlannedTargets[] | undefined,
): string {
  const { vm_count, disk_bytes } = totalsOf(planned);
  const leftOut = vms.length - vm_count;
  const left = leftOut === 0 ? "" : `; ${counted(leftOut, "VM")} left out, with the reason`;
  const place = below === undefined ? endpoint : `${endpoint}, below ${below}`;
  const targetsOf = new Map(planned.map((vm, at) => [vm, targets?.[at]]));
  const entries = vms.map((vm) =>
    targetsOf.has(vm) ? entryText(vm, targetsOf.get(vm)) : leftOutText(vm),
  );
  return [
    comment(`${place}: ${counted(vm_count, "VM")} with ${formatBytes(disk_bytes)} of disks${left}`),
    comment("To be looked through and completed, then: migratekit migrate --vms FILE"),
    comment("Any setting of migrate may stand in defaults and in an entry (docs/several-vms.md)."),
    comment("For a fleet also of cutover, and wave, priority, every, schedule, sync-window,"),
    comment("cutover-window, after, labels (docs/fleet/plan.md); then: migratekit fleet plan FILE"),
    ...findings.map((finding) => comment(findingText(finding))),
    ...defaultsText(config),
    vm_count === 0 ? "vms: []" : "vms:",
    ...entries.flat(),
    "",
  ].join("\n");
}

/** What the inventory was read with; never the password. */
function defaultsText(config: Config): string[] {
  const { vmwarePasswordFile: file, vmwareThumbprint, vmwareCaFile } = config;
  const known: Record<string, string | undefined> = {
    "vmware-endpoint": endpointText(config),
    "vmware-username": config.vmwareUsername,
    "vmware-password-file": file === undefined || file === "-" ? undefined : resolve(file),
    "vmware-thumbprint": vmwareThumbprint,
    "vmware-ca-file": vmwareCaFile === undefined ? undefined : resolve(vmwareCaFile),
  };
  const lines = Object.entries(known).flatMap(([name, value]) =>
    value === undefined ? [] : [`  ${name}: ${scalar(value)}`],
  );
  const noPassword = "  # vmware-password-file: /etc/migratekit/credentials/vcenter";
  return ["defaults:", ...lines, ...(known["vmware-password-file"] ? [] : [noPassword])];
}

function entryText(vm: InventoryRow, targets: PlannedTargets | undefined): string[] {
  const target = ({ disk_id }: InventoryDisk) => targets?.get(disk_id) ?? openTarget;
  return [
    `  # ${summaryOf(vm)}`,
    ...vm.findings.map((finding) => `  ${comment(findingText(finding))}`),
    `  - vmware-path: ${scalar(vm.vm_path)}`,
    "    nbd-targets:",
    ...vm.disks.map(
      (disk) => `      ${keyOf(disk.disk_id)}: ${scalar(target(disk))} ${comment(diskText(disk))}`,
    ),
  ];
}

function leftOutText(vm: InventoryRow): string[] {
  const problems = vm.findings.filter(({ level }) => level === "problem");
  if (problems.length === 0) {
    const message = "another VM has the same path, as far as this account sees what is above it";
    problems.push({ area: "vm", level: "problem", message });
  }
  return [
    `  ${comment(`left out: ${scalar(vm.vm_path)}`)}`,
    ...problems.map((finding) => `  ${comment(`  ${findingText(finding)}`)}`),
  ];
}

function summaryOf({ guest_name, cpus, memory_bytes, used_bytes, tracking }: InventoryRow): string {
  const facts = [
    guest_name,
    cpus === undefined ? undefined : counted(cpus, "CPU"),
    memory_bytes === undefined ? undefined : `${formatBytes(memory_bytes)} of memory`,
    used_bytes === undefined ? undefined : `${formatBytes(used_bytes)} used`,
    tracking === undefined ? undefined : `tracking ${tracking}`,
  ];
  return oneLine(facts.filter((fact) => fact !== undefined).join(", "));
}

function diskText(disk: InventoryDisk): string {
  const facts = [disk.label, formatBytes(disk.capacity_bytes), busAddress(disk)];
  return facts.filter((fact) => fact !== undefined).join(", ");
}

function findingText({ level, message, remedy }: Finding): string {
  const text = `${level === "problem" ? "problem" : "note"}: ${message}`;
  return remedy === undefined ? text : `${text}. ${remedy}`;
}

/** One line, whatever was in the names. */
function comment(text: string): string {
  return `# ${oneLine(text, 1000)}`;
}

/** A text as one line of YAML that is read back as it was. */
function scalar(text: string): string {
  return stringify(text, { defaultStringType: "QUOTE_DOUBLE", lineWidth: 0 }).trimEnd();
}
