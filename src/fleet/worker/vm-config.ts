/** The settings of a leased VM: what the plan says, and what the worker has for all. */
import { join } from "node:path";
import { type Config, configsOf, type GivenFlags } from "../../config.ts";
import type { ConfigFile } from "../../config-file.ts";
import { MigratekitError } from "../../errors.ts";
import { type OptionName, options } from "../../options.ts";
import type { Lease } from "../fleet.ts";

export interface WorkerSettings {
  readonly config: Config;
  /** As typed. */
  readonly flags: GivenFlags;
}

/**
 * The plan says what is done with the VM; the worker's flags, variables and files fill in what it leaves out,
 * such as the password. `stateDir` is the run's own.
 * @throws MigratekitError `usage` naming the VM and the setting
 */
export function configOf(
  { vm, action }: Pick<Lease, "vm" | "action">,
  { config: own, flags }: WorkerSettings,
  stateDir: string,
): Config {
  const takes = (name: string): name is OptionName =>
    name in options && options[name as OptionName].commands.some((command) => command === action);
  const settings = Object.entries(vm.settings).filter(([name]) => takes(name));
  const planned = fileOf(`the plan's ${vm.name}`, settings as [OptionName, string][]);
  const typed = new Map([...flags].filter(([name]) => takes(name)));
  const config = configsOf(action, typed)(planned);
  if (config.vmwarePath === undefined) {
    throw new MigratekitError("usage", `the plan's ${vm.name} names no VM`);
  }
  return Object.freeze({
    ...config,
    stateDir,
    yes: true,
    json: false,
    // Of the process as a whole.
    memory: Math.max(leastMemory, Math.floor(config.memory / own.parallelVms)),
    // The run's own directory does not outlive it.
    keepOld: config.keepOld ?? join(own.stateDir, "old-bytes"),
  });
}

const leastMemory = 16 * 1024 * 1024;

function fileOf(place: string, settings: readonly [OptionName, string][]): ConfigFile {
  return {
    values: new Map(settings),
    where: (name) => `${place}: ${name}`,
    readableByOthers: false,
  };
}
