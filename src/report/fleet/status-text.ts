/** `fleet status` for people: trouble first, then what runs, then the waves, then who works and where. */
import type {
  FleetPlaceStatus,
  FleetStatus,
  FleetVmStatus,
  FleetWaveStatus,
  FleetWorkerStatus,
} from "../../fleet/status.ts";
import { counted, formatBytes, formatBytesOf, formatDuration, formatRate } from "../../text.ts";
import { ageText } from "../overview/overview-text.ts";
import { breaksTo, detailedTable, type Sheet, shown, sparkline, table } from "../table.ts";
import {
  type Downtime,
  deltasOf,
  experienceOf,
  isTrouble,
  predictDowntime,
  totalsOf,
} from "./fleet.ts";

/** What was asked for. */
export interface StatusView {
  /** Each VM has a line, also where thousands are well; nothing is left out. */
  readonly all: boolean;
  /** The VMs of the status are those of these waves, or these VMs, alone: each has a line. */
  readonly wave?: readonly string[] | undefined;
  readonly vm?: readonly string[] | undefined;
}

/** Entries of each list that a screen is for; how many more there are is said. */
const listedMax = 20;
/** A fleet of so many VMs has a line for each without being asked. */
const smallFleet = 30;
/** Wave 10 comes after wave 2. */
const byNumber = new Intl.Collator("en", { numeric: true });
/** Of the newest deltas. */
const trendLength = 12;

/** Whether each VM has a line without being asked for. */
export function isSmall({ waves }: FleetStatus): boolean {
  return totalsOf(waves).vms <= smallFleet;
}

/** Ends with a line break. */
export function fleetStatusText(status: FleetStatus, sheet: Sheet, view: StatusView): string {
  const nowMs = Date.parse(status.at);
  const parts = [
    breaksTo(sheet)(headText(status)),
    troubleText(status, nowMs, sheet, view),
    runningText(status, sheet, view),
    wavesText(status, nowMs, sheet, view),
    workersText(status.workers, nowMs, sheet, view),
    placesText(status, sheet, view),
    vmsText(status, nowMs, sheet, view),
  ];
  return parts
    .filter((part) => part !== "")
    .map((part) => `${part.trimEnd()}\n`)
    .join("\n");
}

function headText({ at, waves }: FleetStatus): string {
  const time = `${at.slice(0, 19).replace("T", " ")} UTC`;
  if (waves.length === 0) {
    return `the fleet has no VM yet (${time}): 'migratekit fleet apply FILE' gives it a plan`;
  }
  const { vms, inSync, cutOver, failed, running } = totalsOf(waves);
  const facts = [
    `${inSync} in sync`,
    `${cutOver} cut over`,
    `${running} running`,
    ...(failed === 0 ? [] : [`${failed} waiting for an operator`]),
  ];
  return `${counted(vms, "VM")} at ${time}: ${facts.join(", ")}`;
}

function troubleText(status: FleetStatus, nowMs: number, sheet: Sheet, view: StatusView): string {
  const vms = status.vms.filter(isTrouble);
  const paused = status.waves.filter((wave) => wave.paused);
  const asleep = status.vms.filter(({ state, wave }) => {
    return state === "paused" && !paused.some(({ name }) => name === wave);
  });
  const silent = status.workers.filter(({ alive, runs }) => !alive && runs > 0);
  const lines = [
    ...bounded(vms, view, "more in trouble").flatMap((vm) =>
      typeof vm === "string" ? [vm] : vmTrouble(vm, nowMs),
    ),
    ...silent.map(
      ({ name, seenAt, runs }) =>
        `worker ${shown(name)}: last heard of ${ageText(seenAt, nowMs)}, with ${counted(runs, "run")} in its hands`,
    ),
    ...paused.map(
      ({ name, vmCount }) =>
        `wave ${shown(name)}: paused (${counted(vmCount, "VM")}); 'migratekit fleet resume --wave ${shown(name)}' lets it go on`,
    ),
    ...bounded(asleep, view, "more paused").map((vm) =>
      typeof vm === "string" ? vm : `${shown(vm.name)}: paused`,
    ),
  ];
  return section("trouble", lines, sheet);
}

/** What happened, and below what an operator does about it. */
function vmTrouble(vm: FleetVmStatus, nowMs: number): string[] {
  const { name, wave, state, why, failures, lastError, nextRunAt } = vm;
  const who = `${shown(name)} (wave ${shown(wave)})`;
  if (state === "takeover") {
    return [`${who}: ${shown(why ?? `${vm.worker ?? "its worker"} is not heard of any more`)}`];
  }
  const times = failures > 1 ? `failed ${failures} times` : "failed";
  const when = lastError === undefined ? "" : `, ${ageText(lastError.at, nowMs)}`;
  const code = lastError?.code === undefined ? "" : ` [${lastError.code}]`;
  const message = lastError === undefined ? "" : `: ${shown(lastError.message)}`;
  const again =
    state !== "failed" && nextRunAt !== undefined
      ? `; tried again ${untilText(nextRunAt, nowMs)}`
      : "";
  const { remedy } = lastError ?? {};
  return [
    `${who}: ${times}${when}${code}${message}${again}`,
    ...(remedy === undefined ? [] : [`  fix: ${shown(remedy)}`]),
    ...(state === "failed" ? [`  then: migratekit fleet retry --vm ${shown(name)}`] : []),
  ];
}

function runningText(status: FleetStatus, sheet: Sheet, view: StatusView): string {
  const running = status.vms.filter(({ state }) => state === "running");
  if (running.length === 0) return "";
  const listed = bounded(running, view, "more running");
  const rows = listed.filter((vm) => typeof vm !== "string").map(runningRow);
  const headings = ["running", "wave", "on", "what", "progress", "rate", "left"];
  return `${table(headings, rows, sheet)}${omissions(listed)}`;
}

function runningRow({ name, wave, worker, action, progress }: FleetVmStatus): string[] {
  const what = action === "cutover" ? "cutover" : "sync";
  if (progress === undefined) return [name, wave, worker ?? "-", what, "-", "-", "-"];
  const { stage, doneBytes, plannedBytes, bytesPerSecond } = progress;
  const left = plannedBytes - doneBytes;
  return [
    name,
    wave,
    worker ?? "-",
    `${what}: ${stage}`,
    plannedBytes > 0
      ? `${Math.floor((Math.min(doneBytes, plannedBytes) / plannedBytes) * 100)} % (${formatBytesOf(doneBytes, plannedBytes)})`
      : "-",
    bytesPerSecond > 0 ? formatRate(bytesPerSecond) : "-",
    bytesPerSecond > 0 && left > 0 ? formatDuration(left / bytesPerSecond) : "-",
  ];
}

/** Those that were asked for; who asks for single VMs is told of these alone. */
function wavesText(status: FleetStatus, nowMs: number, sheet: Sheet, view: StatusView): string {
  const waves = status.waves.filter(({ name }) => view.wave?.includes(name) ?? true);
  if (waves.length === 0 || view.vm !== undefined) return "";
  const row = (wave: FleetWaveStatus) => {
    const { name, vmCount, inSync, cutOver, running, failed, paused, nextRunAt } = wave;
    const soon = nextRunAt === undefined ? "-" : untilText(nextRunAt, nowMs);
    return [
      name,
      `${vmCount}`,
      `${inSync}`,
      `${cutOver}`,
      `${running}`,
      `${failed}`,
      paused ? "paused" : vmCount === cutOver ? "done" : soon,
    ];
  };
  const headings = ["wave", "VMs", "in sync", "cut over", "running", "failed", "next run"];
  const inOrder = waves.toSorted((a, b) => byNumber.compare(a.name, b.name));
  return table(headings, inOrder.map(row), sheet);
}

function workersText(
  workers: readonly FleetWorkerStatus[],
  nowMs: number,
  sheet: Sheet,
  view: StatusView,
): string {
  if (workers.length === 0) return "no worker yet: 'migratekit fleet work' is one\n";
  const order = [...workers].sort((a, b) => Number(a.alive) - Number(b.alive));
  const listed = bounded(order, view, "more workers");
  const rows = listed
    .filter((worker) => typeof worker !== "string")
    .map(({ name, runs, parallel, alive, seenAt, version, labels }) => [
      name,
      `${runs} of ${parallel}`,
      alive ? ageText(seenAt, nowMs) : `silent, ${ageText(seenAt, nowMs)}`,
      version,
      labels.length === 0 ? "-" : labels.join(" "),
    ]);
  return `${table(["worker", "runs", "heard of", "version", "labels"], rows, sheet)}${omissions(listed)}`;
}

/** Where a limit holds: the fullest first, as that is what others wait for. */
function placesText(status: FleetStatus, sheet: Sheet, view: StatusView): string {
  const kinds: readonly [string, readonly FleetPlaceStatus[]][] = [
    ["host (connections)", status.hosts],
    ["datastore (runs)", status.datastores],
    ["target server (runs)", status.targetServers],
  ];
  return kinds
    .map(([kind, places]) => {
      const counting = places.filter(
        ({ used, capacity }) => capacity > 0 && (view.all || used > 0),
      );
      if (counting.length === 0) return "";
      const order = counting.sort((a, b) => b.used / b.capacity - a.used / a.capacity);
      const listed = bounded(order, view, "more");
      const rows = listed
        .filter((place) => typeof place !== "string")
        .map(({ id, used, capacity }) => [id, `${used} of ${capacity}`]);
      return `${table([kind, "in use"], rows, sheet)}${omissions(listed)}`;
    })
    .filter((part) => part !== "")
    .join("\n");
}

function vmsText(status: FleetStatus, nowMs: number, sheet: Sheet, view: StatusView): string {
  const { vms } = status;
  if (!view.all && !view.wave && !view.vm && !isSmall(status)) {
    const { vms: whole } = totalsOf(status.waves);
    return `'migratekit fleet status --all' has a line for each of the ${counted(whole, "VM")}\n`;
  }
  if (vms.length === 0) return "";
  const experience = experienceOf(vms);
  const rows = vms.map((vm) => ({
    cells: vmRow(vm, predictDowntime(vm, experience), nowMs, sheet),
    below: vm.why === undefined || isTrouble(vm) ? [] : [shown(vm.why)],
  }));
  const text = detailedTable(vmHeadings, rows, sheet, { columnsMin: 4, indent: 2 });
  const basis =
    experience === undefined
      ? "downtime: the last sync alone, as no cutover was measured yet"
      : `downtime: the last sync, and what ${counted(experience.cutovers, "cutover")} took besides (median ${formatDuration(experience.besidesSyncMs / 1000)})`;
  const foretold = vms.some((vm) => predictDowntime(vm, experience) !== undefined);
  return `${text}${foretold ? `${breaksTo(sheet)(basis)}\n` : ""}`;
}

const vmHeadings = ["VM", "wave", "state", "last sync", "delta", "trend", "downtime", "next run"];

function vmRow(
  vm: FleetVmStatus,
  downtime: Downtime | undefined,
  nowMs: number,
  sheet: Sheet,
): string[] {
  const { name, wave, state, lastSyncAt, cutOverAt, nextRunAt } = vm;
  const deltas = deltasOf(vm);
  const last = deltas.at(-1);
  const synced = cutOverAt ?? lastSyncAt;
  return [
    name,
    wave,
    state,
    synced === undefined ? "never" : ageText(synced, nowMs),
    last === undefined ? "-" : formatBytes(last),
    deltas.length < 2 ? "-" : sparkline(deltas.slice(-trendLength), sheet),
    downtimeText(downtime),
    nextRunAt === undefined || state === "cut-over" ? "-" : untilText(nextRunAt, nowMs),
  ];
}

/** `~ 4:20`; from the last sync alone it is more than that. */
export function downtimeText(downtime: Downtime | undefined): string {
  if (downtime === undefined) return "-";
  const { allMs, lastSyncMs } = downtime;
  return `${allMs === undefined ? ">" : "~"} ${formatDuration((allMs ?? lastSyncMs) / 1000)}`;
}

/** `in 12:05`, `now`. */
function untilText(at: string, nowMs: number): string {
  const leftMs = Date.parse(at) - nowMs;
  return leftMs <= 0 ? "now" : `in ${formatDuration(leftMs / 1000)}`;
}

function section(title: string, lines: readonly string[], sheet: Sheet): string {
  if (lines.length === 0) return "";
  const broken = lines.map((line) => `${breaksTo(sheet)(`  ${line}`)}\n`);
  return `${title}\n${broken.join("")}`;
}

/** The first of a list, and how many more there are in words. */
function bounded<T>(items: readonly T[], { all }: StatusView, more: string): (T | string)[] {
  if (all || items.length <= listedMax) return [...items];
  const rest = items.length - listedMax;
  return [...items.slice(0, listedMax), `and ${rest} ${more} (--all)`];
}

function omissions(listed: readonly unknown[]): string {
  const more = listed.find((item) => typeof item === "string");
  return more === undefined ? "" : `${more}\n`;
}
