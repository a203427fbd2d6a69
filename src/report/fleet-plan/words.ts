/** What a forecast found, in sentences. */
import type { Bound, Trouble } from "../../fleet/forecast/forecast.ts";
import type { AssumptionName, Assumptions } from "../../fleet/forecast/job.ts";
import type { FleetFigure } from "../../fleet/forecast/measured.ts";
import { counted, formatBytes, formatDuration, formatRate } from "../../text.ts";

/** Names in one sentence; the others are counted, and are in the JSON. */
const namesMost = 5;

export function troubleText(trouble: Trouble): string {
  switch (trouble.kind) {
    case "never-in-sync":
      return `${namesText(trouble.vms)}: not in sync within five years`;
    case "never-cut-over":
      return `${namesText(trouble.vms)}: not cut over within five years: the wave, or what it comes after, is not in sync`;
    case "window-too-short": {
      const [taken, open] = [trouble.cutoverMs, trouble.windowMs].map((ms) =>
        formatDuration(ms / 1000),
      );
      return `${namesText(trouble.vms)}: a cutover takes longer than any window is open (${trouble.vms[0]}: ${taken} of ${open})`;
    }
    case "window-begun-late":
      return `${namesText(trouble.vms)}: the cutover would end after its window: it begins late, as others are before it`;
    case "sync-too-long":
      return `${namesText(trouble.vms)}: a sync takes longer than it is to the next one`;
    case "host-overbooked":
      return `the syncs of ${trouble.host} need ${upwards(trouble.connections)} connections at all times, more than it has: they come late`;
    case "appliances-overbooked":
      return `the syncs need ${upwards(trouble.runs)} runs at all times, more than the appliances do: they come late`;
  }
}

const boundTexts: Readonly<Record<Bound, string>> = {
  host: "connections to a host",
  datastore: "runs at a datastore",
  target: "runs at a target server",
  appliance: "the appliances' runs",
  link: "the link to the targets",
  window: "sync windows",
  schedule: "the schedule",
  copy: "the copy itself",
};

const placedTexts: Partial<Record<Bound, string>> = {
  host: "connections to",
  datastore: "runs at",
  target: "runs at",
  copy: "the copy of",
};

/** `at`: which host, datastore, target server or VM. */
export function boundText(bound: Bound, at: string | undefined): string {
  const placed = placedTexts[bound];
  return placed === undefined || at === undefined ? boundTexts[bound] : `${placed} ${at}`;
}

export function assumptionText(name: AssumptionName, assumptions: Assumptions): string {
  const { bytesPerSecond, changedPerDay, fullBytes, downtimeMs, cutoverCount } = assumptions;
  switch (name) {
    case "host":
      return "the ESXi host is not known, and its limit not counted (--inventory)";
    case "datastores":
      return "the datastores are not known, and their limit not counted (--inventory)";
    case "size":
      return `${formatBytes(fullBytes)} to be copied first (--inventory, --assume-size)`;
    case "rate":
      return `${formatRate(bytesPerSecond)} for its copy (--assume-rate)`;
    case "change":
      return `${Number((changedPerDay * 100).toFixed(2))} % of it change in a day (--assume-change)`;
    case "downtime": {
      const source =
        cutoverCount === undefined
          ? "--assume-downtime"
          : `as ${counted(cutoverCount, "cutover")} of the fleet took, in the median`;
      return `${formatDuration(downtimeMs / 1000)} of a cutover besides its syncs (${source})`;
    }
  }
}

/** Which of a VM's figures the fleet's own runs measured. */
export function measuredText(name: FleetFigure): string {
  return `${figureTexts[name]}: runs that the fleet recorded`;
}

const figureTexts: Readonly<Record<FleetFigure, string>> = {
  size: "what is to be copied first",
  rate: "the rate of its copy",
  change: "how much changes",
  sync: "how long a sync takes",
};

function namesText(names: readonly string[]): string {
  const others = names.length - namesMost;
  if (others <= 1) return names.join(", ");
  return `${names.slice(0, namesMost).join(", ")} and ${counted(others, "other")}`;
}

function upwards(value: number): number {
  return Math.ceil(value);
}
