import { setTimeout as sleep } from "node:timers/promises";
import { exitCodes } from "../errors.ts";
import { namedVms } from "../migration/known/named.ts";
import type { CommandContext } from "../report/context.ts";
import { printJson } from "../report/json/json.ts";
import { type KnownVm, readOverview } from "../report/overview/overview.ts";
import { overviewText } from "../report/overview/overview-text.ts";
import { Screen } from "../report/overview/screen.ts";
import { sheetOf } from "../report/table.ts";
import { State } from "../state/state.ts";

const watchIntervalMs = 2000;

/** `migratekit list`: the VMs that this machine works on, from the state directory alone. */
export async function run({ config, signal }: CommandContext): Promise<number> {
  const screen = new Screen(config.cursor);
  let seen = "";
  for (;;) {
    const vms = read(config);
    const now = JSON.stringify(vms);
    if (config.json) {
      if (now !== seen) printJson({ state_dir: config.stateDir, vms });
    } else if (screen.isLive || now !== seen) {
      screen.show(text(config, vms));
    }
    seen = now;
    if (!config.watch) return exitCodes.success;
    await sleep(watchIntervalMs, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}

function read(config: CommandContext["config"]): KnownVm[] {
  const { stateDir } = config;
  using state = State.openExisting(stateDir);
  return state === undefined ? [] : readOverview(state, stateDir, namedVms(state, config));
}

function text(config: CommandContext["config"], vms: readonly KnownVm[]): string {
  const now = new Date();
  const at = now.toISOString().slice(0, 19).replace("T", " ");
  if (vms.length === 0) return `${config.stateDir} knows of no VM yet (${at} UTC)\n`;
  return `${config.stateDir} at ${at} UTC\n${overviewText(vms, sheetOf(config), now.getTime())}`;
}
