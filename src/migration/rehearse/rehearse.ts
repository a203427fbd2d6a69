/**
 * `migratekit rehearse`: between two syncs, everything that a cutover does with the guest, on overlays that
 * are thrown away. The VM's lock keeps syncs away meanwhile; its targets are only read.
 */
import { resolve } from "node:path";
import { bootGuest } from "../../guest/guest.ts";
import { conversionDocument } from "../known/document.ts";
import { type ConvertedOverlays, withConvertedGuest } from "../known/on-overlays.ts";
import type { CycleContext } from "../vm/held-vm.ts";
import { bootDocument, type RehearsalSummary } from "./document.ts";
import { forecastDowntime } from "./forecast.ts";
import { refuse } from "./refusal.ts";
import { outcomeOf } from "./verdict.ts";

type Context = Omit<CycleContext, "shared">;

/**
 * `onSummary` is told the result before anything is made an error of it.
 * @throws MigratekitError `guest-will-not-boot`, `guest-…`, `conversion-…`, `boot-failed`, `converted`,
 *   `not-in-sync`, `target-…`, `locked`; the signal's reason
 */
export async function runRehearsal(
  context: Context,
  onSummary: (summary: RehearsalSummary) => void,
): Promise<RehearsalSummary> {
  const startedMs = performance.now();
  return await withConvertedGuest(context, async (run, converted) => {
    const { config, identity, state, reporter, runId } = run;
    const { conversion } = converted;
    if (config.boot) reporter.stage("Transfer", "starting the converted guest");
    const signs = config.boot ? await boot(context, converted) : undefined;
    const measured = { conversionMs: conversion.durationMs, startMs: signs?.bootMs };
    const summary: RehearsalSummary = {
      vm: { path: identity.vmPath, instance_uuid: identity.instanceUuid },
      run_id: runId,
      ...outcomeOf(conversion, signs),
      conversion: conversionDocument(conversion),
      ...(signs && { boot: bootDocument(signs) }),
      forecast: forecastDowntime(state.runs.listRuns(identity, 500), measured),
      duration_ms: Math.round(performance.now() - startedMs),
    };
    state.rehearsals.write(identity, { runId, verdict: summary.verdict, result: summary });
    onSummary(summary);
    refuse(summary);
    return summary;
  });
}

async function boot(context: Context, { overlays, conversion, work, hardware }: ConvertedOverlays) {
  const { config, logger, signal } = context;
  return await bootGuest(overlays, conversion, {
    ...{ work, machine: hardware, logger, signal, timeoutMs: config.bootTimeout },
    ...(config.screenshot === undefined ? {} : { screenshot: resolve(config.screenshot) }),
  });
}
