/** One conversion, from empty overlays to a verdict. */
import type { Logger } from "pino";
import { MigratekitError, messageOf } from "../errors.ts";
import { type RetryPolicy, retry } from "../retry.ts";
import { findAccelerator } from "./boot/accelerator.ts";
import { checkGuest } from "./checks/checks.ts";
import { type Conversion, type Finding, type Repair, verdictOf } from "./conversion.ts";
import { Guestfish, GuestfishError } from "./guestfish/guestfish.ts";
import { type Inspected, inspectGuest } from "./inspect/inspect.ts";
import {
  planStaticAddresses,
  readStaticInterfaces,
  type StaticPlan,
} from "./inspect/static-addresses.ts";
import type { LuksKey } from "./inspect/unlock.ts";
import { readWindowsRelease } from "./inspect/windows-release.ts";
import type { GuestHardware, Overlay } from "./machine.ts";
import { requireTargets } from "./overlays/reach.ts";
import { mendLuksNames } from "./repairs/luks-names.ts";
import { repairGuest } from "./repairs/repairs.ts";
import { requireGuestTools } from "./tools/presence.ts";
import { refuseUnsupported } from "./unsupported.ts";
import { findingOf, isPassing, refusalOf } from "./v2v/classify.ts";
import { runV2v, type V2vOptions, type V2vOutcome } from "./v2v/v2v.ts";
import { chooseDrivers, type Drivers } from "./v2v/virtio-win.ts";
import { type Limits, watchLimits } from "./work/watch.ts";
import type { WorkFolder } from "./work/work.ts";

export interface ConvertOptions extends Limits {
  readonly work: WorkFolder;
  readonly logger: Logger;
  readonly signal?: AbortSignal;
  /** `single`, `first`, or a device of the guest. [single] */
  readonly root?: string;
  /** Drivers for Windows: the ISO or a folder. [virt-v2v's own place] */
  readonly virtioWin?: string;
  /** Of all LUKS on the disks. [there is none] */
  readonly luksKeys?: readonly LuksKey[];
}

/** What the steps hand on. */
interface Work extends ConvertOptions {
  readonly overlays: readonly Overlay[];
  readonly hardware: GuestHardware;
  readonly signal: AbortSignal;
  readonly forceTcg: boolean;
}

/**
 * virt-v2v on the overlays, our repairs, our checks. A guest that would not boot is a verdict, and so is
 * one that virt-v2v refuses for its present state. Nothing but the overlays is written to.
 * @throws MigratekitError `guest-tool-missing`, `guest-unsupported`, `conversion-failed`,
 *   `conversion-timeout`, `overlay-too-large`, `work-folder-unusable`; the signal's reason
 */
export async function convertGuest(
  overlays: readonly Overlay[],
  hardware: GuestHardware,
  options: ConvertOptions,
): Promise<Conversion> {
  const startMs = performance.now();
  refuseUnsupported(hardware);
  const windows = isWindows(hardware);
  await requireGuestTools({ windows, ...pick(options) });
  using watch = watchLimits(options.work, overlays, options, options.signal);
  try {
    const forceTcg = await needsTcg(options, watch.signal);
    const work: Work = { ...options, overlays, hardware, signal: watch.signal, forceTcg };
    const result = await convert(work, windows);
    await watch.check();
    return { ...result, durationMs: Math.round(performance.now() - startMs) };
  } catch (error) {
    // A limit, an interruption and a lost target end programs in ways of their own.
    watch.signal.throwIfAborted();
    await watch.check();
    await requireTargets(overlays, options.work);
    throw asFailure(error);
  }
}

async function convert(work: Work, windows: boolean): Promise<Omit<Conversion, "durationMs">> {
  const known = windows ? await lookAtWindows(work) : { macs: [], findings: [] };
  const prepared = work.luksKeys?.length ? await prepareLuks(work, work.luksKeys) : [];
  const outcome = await retry(() => convertByV2v({ ...work, ...known }), again(work));
  const said = [
    ...known.findings,
    ...outcome.messages.flatMap((message) => findingOf(message) ?? []),
  ];
  return outcome.exitCode === 0
    ? finish(work, said, prepared)
    : refused(work, said, refusalOf(outcome.messages));
}

/** For what passes by itself: at once, on the same overlays. */
function again({ logger, signal }: Work): RetryPolicy {
  return {
    ...{ attemptsMax: 4, firstPauseMs: 0, pauseMsMax: 0, signal },
    isPassing: (error) => isPassing(messageOf(error)),
    onWait: ({ error }) =>
      logger.warn(
        `libguestfs took one disk for another, and nothing was changed; trying again: ${messageOf(error)}`,
      ),
  };
}

/** @throws MigratekitError `conversion-failed` for what another start may not meet, and as `runV2v` */
async function convertByV2v(work: Work & Pick<V2vOptions, "macs">): Promise<V2vOutcome> {
  const outcome = await runV2v(work.overlays, work.hardware, work);
  const { text } = refusalOf(outcome.messages);
  if (outcome.exitCode !== 0 && isPassing(text)) throw failedInV2v(text);
  return outcome;
}

/** With the guest looked at. @throws as `Guestfish.open` and `inspectGuest` */
async function openInspected(work: Work): Promise<{ guestfish: Guestfish; inspected: Inspected }> {
  await using stack = new AsyncDisposableStack();
  const guestfish = stack.use(await Guestfish.open(work.overlays, work));
  const inspected = await inspectGuest(guestfish, work.root, work.luksKeys);
  stack.move();
  return { guestfish, inspected };
}

function failedInV2v(text: string): MigratekitError {
  return new MigratekitError("conversion-failed", `virt-v2v: ${text}`);
}

function asFailure(error: unknown): unknown {
  if (!(error instanceof GuestfishError)) return error;
  return new MigratekitError("conversion-failed", `libguestfs: ${error.message}`, { cause: error });
}

const pick = ({ virtioWin }: ConvertOptions) => (virtioWin === undefined ? {} : { virtioWin });

/** By vSphere's name of the guest; windows9_64Guest, windows2019srv_64Guest, winNetEnterpriseGuest. */
export function isWindows({ guestId = "" }: GuestHardware): boolean {
  return /^win/i.test(guestId);
}

async function needsTcg({ work, logger }: ConvertOptions, signal: AbortSignal): Promise<boolean> {
  const qemu = "qemu-system-x86_64";
  const accelerator = await findAccelerator({ folder: work.path, env: work.env, qemu, signal });
  if (accelerator === "tcg")
    logger.info("KVM runs no guests here; the conversion is slower without");
  return accelerator === "tcg";
}

/** Its addresses, which it ties to cards that it will not have, and the drivers that are right for it. */
async function lookAtWindows(work: Work): Promise<StaticPlan & Drivers> {
  await using guestfish = await Guestfish.open(work.overlays, { ...work, readOnly: true });
  const inspected = await inspectGuest(guestfish, work.root);
  const interfaces = await readStaticInterfaces(guestfish, inspected);
  const addresses = planStaticAddresses(interfaces, work.hardware.nics);
  const release = await readWindowsRelease(guestfish, inspected);
  const drivers = await chooseDrivers(work.virtioWin, release, work.work.path);
  const findings = [...addresses.findings, ...drivers.findings];
  return { ...addresses, ...drivers, findings };
}

async function prepareLuks(work: Work, keys: readonly LuksKey[]): Promise<Repair[]> {
  await using guestfish = await Guestfish.open(work.overlays, work);
  const repairs = await mendLuksNames(guestfish, keys);
  await guestfish.close();
  return repairs;
}

/** Repairs and checks, in one start of the appliance. */
async function finish(
  work: Work,
  said: readonly Finding[],
  prepared: readonly Repair[],
): Promise<Omit<Conversion, "durationMs">> {
  const { hardware, logger } = work;
  const opened = await retry(() => openInspected(work), again(work));
  await using guestfish = opened.guestfish;
  const { inspected } = opened;
  const mended = await repairGuest({ guestfish, inspected, hardware, logger });
  const repairs = [...prepared, ...mended];
  const checked = await checkGuest(guestfish, inspected, hardware);
  await guestfish.close();
  const findings = [...said, ...checked.findings];
  return {
    ...{ verdict: verdictOf(findings), hardware: checked.hardware, guest: inspected.system },
    ...{ repairs, findings },
  };
}

/** virt-v2v has ended with an error. */
function refused(
  { hardware }: Work,
  said: readonly Finding[],
  { kind, text }: ReturnType<typeof refusalOf>,
): Omit<Conversion, "durationMs"> {
  if (kind === "unsupported") throw unsupportedByV2v(text);
  if (kind === "encrypted") throw new MigratekitError("guest-encrypted", `virt-v2v: ${text}`);
  if (kind === "unknown") throw failedInV2v(text);
  const { firmware, secureBoot, nics } = hardware;
  const finding: Finding = { level: "will-not-boot", source: "virt-v2v", text };
  return {
    verdict: "will-not-boot",
    hardware: {
      ...{ controller: "sata", firmware, secureBoot, machine: firmware === "uefi" ? "q35" : "pc" },
      nics: nics.map(({ mac }) => ({ mac, model: "e1000" })),
    },
    guest: { os: isWindows(hardware) ? "windows" : "unknown" },
    repairs: [],
    findings: [...said, finding],
  };
}

/** The option of virt-v2v that its text names is another of ours. */
function unsupportedByV2v(text: string): MigratekitError {
  const several = text.startsWith("multi-boot");
  return new MigratekitError(
    "guest-unsupported",
    `virt-v2v: ${text}`,
    several ? { remedy: "Say with --guest-root which one boots, for example /dev/sda2." } : {},
  );
}
