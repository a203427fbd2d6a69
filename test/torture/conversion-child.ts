/**
 * conversion-child.ts JOB: applies overlays, takes a conversion back, or only ends what another left unended.
 * To be killed at any instant. Says on stdout when targets are about to be written.
 */
import { pino } from "pino";
import { makeWorkFolder } from "../../src/guest/guest.ts";
import { applyOverlays } from "../../src/migration/apply/apply.ts";
import { restoreTargets } from "../../src/migration/apply/restore.ts";
import { endUnended } from "../../src/migration/apply/settle.ts";
import { openEngine } from "../../src/migration/engine.ts";
import { ratePlan } from "../../src/option-types.ts";
import { VmLock } from "../../src/state/lock/lock.ts";
import { TargetLocks } from "../../src/state/lock/target-lock.ts";
import { State } from "../../src/state/state.ts";
import { toConvert, vm, type WorkshopDisk } from "../migration/apply/workshop.ts";

export interface ConversionJob {
  readonly action: "apply" | "rollback" | "settle";
  readonly stateDir: string;
  readonly keepOld: string;
  readonly disks: readonly WorkshopDisk[];
  readonly maxRate: number;
}

const job = JSON.parse(process.argv[2]!) as ConversionJob;
const logger = pino({ level: process.env.CONVERSION_CHILD_LOG ?? "silent" }, pino.destination(2));
const config = {
  full: false,
  targetDropTime: 100,
  targetConnections: undefined,
  maxRate: ratePlan(String(job.maxRate)),
  memory: 64 << 20,
  stallTimeout: 5_000,
  flushTimeout: 5_000,
};
const say = (what: string) => process.stdout.write(`${what}\n`);

using state = State.open(job.stateDir);
using _lock = VmLock.acquire(job.stateDir, vm.instanceUuid, vm);
await using targetLocks = new TargetLocks(vm.vmPath);
const { signal } = new AbortController();
const base = { config, identity: vm, state, targetLocks, logger, signal };
const converted = await endUnended(base);
if (job.action !== "settle") {
  await using work = await makeWorkFolder({ logger });
  using engine = openEngine(config);
  const context = { ...base, work, engine };
  if (job.action === "rollback" && converted !== undefined) {
    await restoreTargets(context, async () => void say("writing"));
  } else if (job.action === "apply" && converted === undefined) {
    const tls = { caFile: undefined, certificatesDir: undefined, pskFile: undefined };
    await applyOverlays(context, await Promise.all(job.disks.map(toConvert)), {
      ...{ runId: "run", keepOld: job.keepOld, bytesMax: 1 << 30, tls, result: {} },
      onApplying: () => say("writing"),
    });
  }
}
say("ended");
