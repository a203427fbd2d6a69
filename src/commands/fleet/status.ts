import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "../../config.ts";
import { exitCodes, MigratekitError, messageOf, passesByItself } from "../../errors.ts";
import type { FleetStore } from "../../fleet/database/store.ts";
import { openFleet } from "../../fleet/operation.ts";
import type { FleetStatus, StatusScope } from "../../fleet/status.ts";
import type { CommandContext } from "../../report/context.ts";
import { fleetMetricsText, troubledMax } from "../../report/fleet/metrics.ts";
import { serveMetrics } from "../../report/fleet/serve-metrics.ts";
import { fleetHead, fleetVms } from "../../report/fleet/status-json.ts";
import { fleetStatusText, isSmall } from "../../report/fleet/status-text.ts";
import { printJsonWithList } from "../../report/json/json.ts";
import { Screen } from "../../report/overview/screen.ts";
import { sheetOf } from "../../report/table.ts";
import { hostAndPort } from "../../text.ts";

const watchIntervalMs = 2000;
/** What a trend and a forecast are made of. */
const syncsMax = 20;
/** What goes well is known by its waves alone; what runs have left is not looked at. */
const sumsAndTrouble: StatusScope = { healthy: false, syncsMax: 0, endings: false };

/** `migratekit fleet status`: the fleet as its database knows it. Changes nothing. */
export async function run(context: CommandContext): Promise<number> {
  const { config, logger } = context;
  await using store = await openFleet(config, logger);
  if (config.metricsListen !== undefined) return await exportMetrics(context, store);
  await show(context, store);
  return exitCodes.success;
}

/** Once, or with `--watch` until a signal; then a database that is away for a while is waited for. */
async function show({ config, logger, signal }: CommandContext, store: FleetStore): Promise<void> {
  const screen = new Screen(config.cursor);
  let seen: string | undefined;
  let away = false;
  for (;;) {
    try {
      const status = await read(config, store);
      away = false;
      const now = JSON.stringify({ ...status, at: "" });
      if (config.json) {
        if (now !== seen) printJsonWithList(fleetHead(status), "vms", fleetVms(status));
      } else if (screen.isLive || now !== seen) {
        screen.show(fleetStatusText(status, sheetOf(config), config));
      }
      seen = now;
    } catch (error) {
      signal.throwIfAborted();
      if (seen === undefined || !config.watch || !passesByItself(error)) throw error;
      if (!away) logger.warn(`${messageOf(error)}; asking again`);
      away = true;
    }
    if (!config.watch) return;
    await sleep(watchIntervalMs, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}

/** Runs of the past are read where VMs have lines of their own; a fleet of thousands is summed up without. */
async function read(config: Config, store: FleetStore): Promise<FleetStatus> {
  const { wave, vm, all, json } = config;
  const scope: StatusScope = { ...(wave && { waves: wave }), ...(vm && { vms: vm }) };
  const isPart = wave !== undefined || vm !== undefined;
  if (!all && !json && !isPart) {
    const sums = await store.status(sumsAndTrouble);
    if (!isSmall(sums)) return sums;
  }
  const status = await store.status({ ...scope, syncsMax });
  refuseStrangers("wave", wave, status.waves);
  refuseStrangers("vm", vm, status.vms);
  return status;
}

/** @throws MigratekitError `usage` for names that the plan does not have */
function refuseStrangers(
  flag: "wave" | "vm",
  asked: readonly string[] = [],
  found: readonly { readonly name: string }[],
): void {
  const known = new Set(found.map(({ name }) => name));
  const strangers = asked.filter((name) => !known.has(name));
  if (strangers.length === 0) return;
  throw new MigratekitError("usage", `--${flag} ${strangers.join(", ")}: not in the plan`, {
    remedy: "'migratekit fleet status --all' lists the names that it has.",
  });
}

/** One exporter for the whole fleet, beside those that each worker has of itself. Until a signal. */
async function exportMetrics(
  { config, logger, signal }: CommandContext,
  store: FleetStore,
): Promise<never> {
  const render = async () =>
    fleetMetricsText(await store.status({ ...sumsAndTrouble, vmsMax: troubledMax }));
  const failed = (error: unknown) => logger.warn(`metrics: ${messageOf(error)}`);
  await using server = await serveMetrics(config.metricsListen!, render, failed);
  const { host, port } = server.address;
  logger.info(`metrics of the fleet at http://${hostAndPort(host, port)}/metrics`);
  const ended = Promise.withResolvers<never>();
  const end = () => ended.reject(signal.reason);
  signal.addEventListener("abort", end, { once: true });
  if (signal.aborted) end();
  return await ended.promise;
}
