/** A fleet's plan: the YAML of `--vms`, grown by when, in what order and by whom. */
import {
  type Config,
  configsOf,
  type Environment,
  endpointText,
  type GivenFlags,
  isSecret,
  requireSettings,
} from "../../config.ts";
import { MigratekitError } from "../../errors.ts";
import { collected, type ListEntry, readListFile } from "../../migration/list/list-file.ts";
import { checkTargets, namesOf, placed, SeenOnce } from "../../migration/list/read-list.ts";
import { refuseTwoKinds } from "../../migration/volumes/volumes.ts";
import type { FleetPlan, PlannedVm } from "../fleet.ts";
import { afterOf, limitsOf, type Timing, TimingReader } from "./fields.ts";
import { circlesOf, resolveAfter } from "./order.ts";

/** All that is wrong in a plan, at once; its message has the first. */
export class PlanMistakes extends MigratekitError {
  /** Each names FILE:LINE, in the plan's order. */
  readonly mistakes: readonly MigratekitError[];

  constructor(path: string, mistakes: readonly MigratekitError[]) {
    const lineOf = ({ message }: MigratekitError) =>
      Number.parseInt(message.slice(path.length + 1), 10);
    const sorted = mistakes.toSorted((a, b) => lineOf(a) - lineOf(b));
    const first = sorted[0]!;
    const count = sorted.length === 1 ? "" : `${path} has ${sorted.length} mistakes; the first: `;
    super("usage", `${count}${first.message}`, { remedy: first.remedy });
    this.mistakes = sorted;
  }
}

/**
 * Reads a plan and checks what can be checked by itself. What the plan leaves open (the account, its password)
 * workers have of their own; only the endpoint may come from flags, variables or `--config`.
 * @throws PlanMistakes; MigratekitError `usage` for a file that cannot be read as a plan at all
 */
export function readFleetPlan(
  path: string,
  flags: GivenFlags,
  environment?: Environment,
): FleetPlan {
  const mistakes: MigratekitError[] = [];
  const onMistake = (mistake: MigratekitError) => void mistakes.push(mistake);
  const file = readListFile(path, "the plan", onMistake);
  const { defaults } = file;
  refuseSecrets(defaults);
  const timings = new TimingReader(defaults.fields);
  const limits = limitsOf(file.limits);
  const configOf = configsOf("fleet plan", flags, environment, defaults.settings);
  const seen = new SeenOnce();
  const found = file.entries.flatMap((entry) =>
    collected(onMistake, () => {
      refuseSecrets(entry);
      const config = configOf(entry.settings);
      placed(entry.place, () => checkConfig(config));
      seen.add(entry.place, config);
      return { entry, config, timing: timings.read(entry.fields), after: afterOf(entry.fields) };
    }),
  );
  // A VM that was left out for a mistake of its own must not seem missing.
  if (mistakes.length > 0) throw new PlanMistakes(path, mistakes);
  const names = namesOf(found.map(({ config }) => config));
  const after = resolveAfter(
    found.map((vm, at) => ({
      name: names[at]!,
      vmPath: vm.config.vmwarePath!,
      after: vm.after,
      afterPlace: placeOf(vm.entry, "after"),
    })),
    onMistake,
  );
  const vms = found.map((vm, at) => plannedVm(vm, defaults, names[at]!, after[at]!));
  const byName = new Map(vms.map(({ name }, at) => [name, found[at]!.entry]));
  for (const circle of circlesOf(vms)) {
    const place = placeOf(byName.get(circle[0]!)!, "after");
    onMistake(usage(`${place} goes in a circle: ${circle.join(" -> ")}`));
  }
  if (mistakes.length > 0) throw new PlanMistakes(path, mistakes);
  return { ...limits, vms };
}

function checkConfig(config: Config): void {
  requireSettings(config, "vmware-path", "vmware-endpoint");
  checkTargets(config);
  refuseTwoKinds(config);
}

/** A plan lies in a database that every worker reads. */
function refuseSecrets({ settings }: ListEntry): void {
  const name = [...settings.values.keys()].find(isSecret);
  if (name === undefined) return;
  throw new MigratekitError("usage", `${settings.where(name)} does not belong into a plan`, {
    remedy: `Take it out; each worker has its own: --${name} in its --config, the variable, or a file with it.`,
  });
}

function plannedVm(
  { entry, config, timing }: { entry: ListEntry; config: Config; timing: Timing },
  defaults: ListEntry,
  name: string,
  after: readonly string[],
): PlannedVm {
  const endpoint = endpointText(config).toLowerCase();
  const vmPath = config.vmwarePath!;
  const settings = {
    ...Object.fromEntries(defaults.settings.values),
    ...Object.fromEntries(entry.settings.values),
    "vmware-endpoint": endpoint,
    "vmware-path": vmPath,
  };
  return { name, endpoint, vmPath, ...timing, after, settings };
}

function placeOf({ fields, place }: ListEntry, name: string): string {
  return fields.get(name)?.place ?? place;
}

function usage(message: string): MigratekitError {
  return new MigratekitError("usage", message);
}
