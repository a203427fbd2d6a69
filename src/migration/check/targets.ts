/** The part of a preflight that looks at the targets: all of them, whatever is wrong with the first. */
import type { Config } from "../../config.ts";
import { MigratekitError } from "../../errors.ts";
import { digestRanges, type ExportInfo, NbdError } from "../../nbd/copy-engine/copy-engine.ts";
import { untilGreeted } from "../../nbd/copy-engine/patience.ts";
import { refuseSameServer, warnOfPlainTargets } from "../../nbd/target/check.ts";
import { acceptedNoFlush, obstacleToFlush } from "../../nbd/target/flush.ts";
import { lookAtTargets } from "../../nbd/target/look.ts";
import { parseTargets } from "../../nbd/target/target.ts";
import { displayUri } from "../../nbd/target/uri.ts";
import type { VmIdentity } from "../../state/vm-identity.ts";
import { sizeText } from "../../text.ts";
import type { UndoStack } from "../../undo.ts";
import type { VirtualDisk } from "../../vmware/virtual-disk.ts";
import type { CheckedTarget, FoundDisk } from "../disk.ts";
import { diskIdOf } from "../vm/disks.ts";
import { foundDisk, targetEndpoints, withTargets } from "../vm/targets.ts";
import { certificateFindings } from "./certificates.ts";
import { type Finding, ok, problem, warning, warningsOf } from "./finding.ts";
import { checkVolumes } from "./volumes.ts";

const probeTimeoutMs = 10_000;

export interface TargetFindings {
  readonly findings: Finding[];
  /** The targets without a problem. */
  readonly targets: FoundDisk[];
}

/** As much as could be read of the VM that the targets are for. */
export interface VmToCheck {
  readonly disks: readonly VirtualDisk[] | undefined;
  readonly name?: string | undefined;
  readonly identity?: VmIdentity | undefined;
  /** Where its disks were copied to before (vm/targets.ts). */
  readonly known?: ReadonlyMap<number, string> | undefined;
}

/**
 * Assigns and probes. Where the VM could not be read, the exports that the flags name are still
 * tried, with a disk of no size.
 * @throws MigratekitError `usage` for an assignment that cannot be
 */
export async function checkAllTargets(
  config: Config,
  vm: VmToCheck,
  undo: UndoStack,
  signal: AbortSignal,
): Promise<TargetFindings> {
  if (config.cloudstackVolumes !== undefined)
    return await checkVolumeTargets(config, vm, undo, signal);
  const skip = config.skipDisks ?? [];
  const wantedOfVm = vm.disks?.filter(({ key }) => !skip.includes(key));
  const disks = wantedOfVm ?? disksOfFlags(config, skip);
  return await checkTargetsOf(config, { vm, disks }, undo, signal);
}

/** Volumes that are attached have exports; of the others only CloudStack tells. */
async function checkVolumeTargets(
  config: Config,
  vm: VmToCheck,
  undo: UndoStack,
  signal: AbortSignal,
): Promise<TargetFindings> {
  const { disks: all, identity, name = "", known } = vm;
  if (all === undefined || identity === undefined) return { findings: [], targets: [] };
  const disks = all.filter(({ key }) => !config.skipDisks?.includes(key));
  const { findings, attached } = await checkVolumes(
    config,
    { name, identity, disks, known },
    signal,
  );
  const exported = disks.filter(({ key }) => attached.some(([of]) => of === key));
  const settings = withTargets(config, attached);
  const found = await checkTargetsOf(settings, { vm, disks: exported }, undo, signal);
  return { ...found, findings: [...findings, ...found.findings] };
}

async function checkTargetsOf(
  config: Config,
  { vm, disks }: { vm: VmToCheck; disks: readonly VirtualDisk[] },
  undo: UndoStack,
  signal: AbortSignal,
): Promise<TargetFindings> {
  if (disks.length === 0) return { findings: [], targets: [] };
  const endpoints = await targetEndpoints(config, vm.disks ?? disks, disks, undo, vm.known);
  const wanted = disks.map((disk) => ({ ...disk, endpoint: endpoints.get(disk.key)! }));
  const findings: Finding[] = [];
  const logger = warningsOf((message) =>
    findings.push(warning("target", message, "Use nbds:// or the tunnel.")),
  );
  const shared = await refuseSameServer(wanted).then(
    () => [],
    (error: unknown) => [problem("target", error)],
  );
  warnOfPlainTargets(wanted, logger);
  const { infos, failures } = await lookAtTargets(wanted, { signal, timeoutMs: probeTimeoutMs });
  findings.push(...(await certificateFindings([...endpoints.values()], signal)));
  findings.push(...shared, ...failures.map((failure) => problem("target", failure)));
  if (shared.length > 0) return { findings, targets: [] };
  const targets: FoundDisk[] = [];
  for (const disk of disks) {
    const info = infos.get(disk.key);
    const endpoint = endpoints.get(disk.key)!;
    if (info === undefined) continue;
    const obstacle = obstacleToFlush({ ...disk, endpoint }, info);
    if (obstacle) findings.push(unflushed(obstacle, config.acceptNoFlush));
    const unreadable = await tryToRead(endpoint, info, disk, signal);
    if (unreadable) {
      findings.push(unreadable);
      continue;
    }
    findings.push(
      ok("target", `${diskIdOf(disk)} -> ${displayUri(endpoint.uri)}: ${offers(info)}`),
    );
    targets.push(await foundDisk(disk, endpoint, info));
  }
  return { findings, targets };
}

function unflushed(obstacle: MigratekitError, accepted: boolean): Finding {
  if (!accepted) return problem("target", obstacle);
  return warning("target", acceptedNoFlush(obstacle), "Set flush = true for the export.");
}

function offers(info: ExportInfo): string {
  const offered = [
    info.canFlush && "flush",
    info.canZero && "zero",
    info.canFastZero && "fast-zero",
    info.canTrim && "trim",
    info.canMultiConn && "multi-conn",
    info.canExtents && "extents",
    info.tls && "TLS",
  ].filter(Boolean);
  const list = offered.length === 0 ? "nothing but reads and writes" : offered.join(", ");
  return `${sizeText(info.sizeBytes)}, offers ${list}`;
}

async function tryToRead(
  endpoint: CheckedTarget["endpoint"],
  info: ExportInfo,
  disk: VirtualDisk,
  signal: AbortSignal,
): Promise<Finding | undefined> {
  const lengthBytes = Math.min(4096, info.sizeBytes);
  if (lengthBytes === 0) return undefined;
  try {
    const range = Float64Array.of(0, lengthBytes);
    await untilGreeted(probeTimeoutMs, signal, (timeoutMs) =>
      digestRanges(endpoint, range, { signal, timeoutMs }),
    );
    return undefined;
  } catch (error) {
    signal.throwIfAborted();
    return problem("target", unreadableTarget(endpoint.uri, diskIdOf(disk), error));
  }
}

/** An error of the engine as MigratekitError `target-io`; any other as it is. */
export function unreadableTarget(uri: string, diskId: string, error: unknown): unknown {
  if (!(error instanceof NbdError)) return error;
  return new MigratekitError(
    "target-io",
    `${displayUri(uri)}, the target of ${diskId}, cannot be read: ${error.message}`,
    { cause: error, remedy: "Check the volume behind the export and the server's log." },
  );
}

function disksOfFlags(
  { nbdTargets, nbdExportName }: Pick<Config, "nbdTargets" | "nbdExportName">,
  skip: readonly number[],
): VirtualDisk[] {
  const keys =
    nbdTargets === undefined
      ? /\{(?:key|index)\}/.test(nbdExportName)
        ? [] // which ones, only the VM could tell
        : [2000]
      : [...parseTargets(nbdTargets).keys()];
  return keys
    .filter((key) => !skip.includes(key))
    .map((key) => ({
      key,
      label: "not read",
      capacityBytes: 0,
      controllerKey: 0,
      unitNumber: 0,
      fileName: "",
      backing: "other",
      diskMode: "",
    }));
}
