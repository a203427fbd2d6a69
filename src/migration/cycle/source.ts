/** Sources up, targets proven, disks copied. */
import { MigratekitError } from "../../errors.ts";
import { type Engine, probeExport } from "../../nbd/copy-engine/copy-engine.ts";
import type { NbdkitInspection } from "../../nbd/nbdkit/inspect.ts";
import { type NbdkitExport, startNbdkit } from "../../nbd/nbdkit/nbdkit.ts";
import type { Run } from "../vm/run.ts";
import type { CycleDisk } from "./cycle-disk.ts";
import { explainCopyError } from "./engine-errors.ts";
import { compareUnchanged, findChangedSample, untouchedSamples } from "./guard.ts";
import { patiently } from "./patience.ts";
import { type AreaQuery, type CopyPlan, planFullInstead } from "./plan.ts";

export interface PreparedDisk {
  readonly disk: CycleDisk;
  plan: CopyPlan;
  readonly source: NbdkitExport;
}

/** Starts nbdkit for a disk and opens the disk once: VDDK's errors show here, not in mid-copy. */
export async function startSource(
  run: Run,
  snapshotMoref: string,
  disk: CycleDisk,
  inspection: NbdkitInspection,
): Promise<NbdkitExport> {
  const { config, site, logger, signal } = run;
  const source = await startNbdkit(
    {
      server: config.vmwareEndpoint!.host,
      port: config.vmwareEndpoint!.port,
      nfcPort: config.vddkNfcPort,
      username: config.vmwareUsername!,
      password: config.vmwarePassword!.reveal(),
      thumbprintSha1: site.client.certificate.sha1,
      vmMoref: site.vm.moref,
      snapshotMoref,
      diskPath: disk.frozen.fileName,
      compression: config.compressionMethod,
      transports: config.vddkTransports,
      libdir: config.vddkLibdir,
      plugin: config.vddkPlugin,
      nbdkit: config.nbdkit,
      configFile: config.vddkConfig,
    },
    { logger: logger.child({ disk: disk.diskId }), signal, inspection },
  );
  try {
    await checkSource(source, disk, signal);
    return source;
  } catch (error) {
    await source.stop();
    throw error;
  }
}

async function checkSource(
  source: NbdkitExport,
  disk: CycleDisk,
  signal: AbortSignal,
): Promise<void> {
  try {
    const { sizeBytes } = await patiently(
      signal,
      () => probeExport({ uri: source.uri }, { signal, side: "source" }),
      // "No export" is how nbdkit says that VDDK could not open the disk: trying again is no help.
      async (error) => !/no export/.test(error.message) && !(await source.findRootCause(error)),
    );
    if (sizeBytes >= disk.frozen.capacityBytes) return;
    throw new MigratekitError(
      "source-open",
      `${disk.diskId}: VDDK opened a disk of ${sizeBytes} bytes where vSphere says ${disk.frozen.capacityBytes}`,
    );
  } catch (error) {
    throw explainCopyError(
      error,
      disk.diskId,
      disk.targetFacts.uri,
      await source.findRootCause(error),
    );
  }
}

/**
 * Before an incremental or a resume: is the target still what it is taken for? If not, the plan
 * becomes a full copy, or the run ends where the operator said so.
 */
export async function guardTarget(
  prepared: PreparedDisk,
  query: AreaQuery,
  engine: Engine,
  options: {
    readonly onMismatch: "full" | "fail";
    readonly sourceConnections: number | undefined;
  },
): Promise<void> {
  const { disk, plan } = prepared;
  const difference = await findDifference(
    prepared,
    engine,
    options.sourceConnections,
    query.signal,
  );
  if (difference === undefined) return;
  if (options.onMismatch === "fail") {
    throw new MigratekitError("target-mismatch", `${disk.diskId}: ${difference}`);
  }
  if (plan.decision.type === "full") return;
  query.logger.warn(
    { disk: disk.diskId },
    `${difference}; copying everything instead of ${plan.decision.type}`,
  );
  prepared.plan = await planFullInstead(query, disk, difference);
}

async function findDifference(
  { disk, plan, source }: PreparedDisk,
  engine: Engine,
  connections: number | undefined,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { decision } = plan;
  if (decision.type === "full") return decision.targetMismatch ? decision.reason : undefined;
  const where = `the target ${disk.targetFacts.uri}`;
  if (decision.type === "incremental" && decision.guard === "source") {
    const sides = {
      source: { uri: source.uri, connections },
      target: disk.target,
      capacityBytes: disk.frozen.capacityBytes,
    };
    const range = await compareUnchanged(engine, sides, plan.extents!, undefined, signal);
    return range && `${where} differs at offset ${range.offset} from what did not change since`;
  }
  // Samples of the record speak of the time before the interrupted run; those of the journal are
  // of ranges that it finished and nobody has written since.
  const ofRecord = decision.type === "resume" && decision.mode === "full" ? [] : disk.recordSamples;
  const samples = [...untouchedSamples(ofRecord, plan.touched), ...disk.journalSamples];
  const changed = await findChangedSample(disk.target, samples, signal);
  return (
    changed && `${where} is not what the last run left: it differs at offset ${changed.offset}`
  );
}
