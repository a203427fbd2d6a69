/**
 * Whether a converted guest comes up: it is started on overlays that are thrown away, on the hardware that
 * it will have, in a network where nobody answers, and watched until it is clear.
 */
import { copyFile } from "node:fs/promises";
import { availableParallelism, freemem } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { MigratekitError, messageOf } from "../../errors.ts";
import { runProgram } from "../../run-program.ts";
import { withUndo } from "../../undo.ts";
import type { Conversion } from "../conversion.ts";
import type { GuestHardware, Overlay } from "../machine.ts";
import { cannotStart } from "../tools/tools.ts";
import type { WorkFolder } from "../work/work.ts";
import { type Accelerator, findAccelerator } from "./accelerator.ts";
import { lastLines, readConsole } from "./console.ts";
import { copyFirmware } from "./firmware.ts";
import { type Lan, listenToLan } from "./lan.ts";
import type { MachinePlan } from "./machine.ts";
import { Qemu } from "./qemu.ts";
import { type BootVerdict, judge, type Observations, rootIsWritten } from "./signs.ts";

export interface BootOptions {
  readonly work: WorkFolder;
  readonly machine: GuestHardware;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  /** Where the picture of the screen is kept. */
  readonly screenshot?: string;
  readonly qemu?: string;
  readonly qemuImg?: string;
}

export interface SignsOfLife {
  readonly verdict: BootVerdict;
  readonly reason: string;
  readonly accelerator: Accelerator;
  readonly kernel: boolean;
  readonly rootMounted: boolean;
  readonly console: "login" | "service" | undefined;
  readonly addresses: readonly { readonly mac: string; readonly address: string }[];
  readonly writtenBytes: number;
  readonly restarts: number;
  /** The last lines of the serial console; none where the guest does not use it. */
  readonly consoleTail: readonly string[];
  /** The picture's path, where one was wanted and could be taken. */
  readonly screenshot: string | undefined;
  readonly durationMs: number;
  /** From the start to the first moment at which it was clear that it boots. */
  readonly bootMs: number | undefined;
}

const lookIntervalMs = 1_000;
/** Once it is clear that it boots: for the signs that come a little later, more where all is slow. */
const settleLeastMs = 20_000;
const settlePart = 0.2;
/** Once it is clear that it does not: for the words that explain it. */
const lastWordsMs = 2_000;
const tailLines = 15;
const memoryMostMiB = 2048;
const memoryLeastMiB = 256;
const cpusMost = 4;

/** @throws MigratekitError `boot-failed`, `guest-tool-missing`; the signal's reason */
export async function bootGuest(
  overlays: readonly Overlay[],
  conversion: Conversion,
  options: BootOptions,
): Promise<SignsOfLife> {
  return await withUndo(options.logger, async (undo) => {
    const plan = await planMachine(overlays, conversion, options);
    let written = 0;
    const lan = await listenToLan({
      socket: plan.lanSocket,
      counts: ({ kind }) => kind === "arp" || rootIsWritten({ writtenBytes: written }),
    });
    undo.use("close the network of the rehearsal", lan);
    const program = options.qemu ?? "qemu-system-x86_64";
    const startedMs = performance.now();
    const qemu = undo.use(
      "stop QEMU",
      await Qemu.start(plan, { program, env: options.work.env, signal: options.signal }),
    );
    const look = async () => {
      // It may switch itself off while it is asked.
      written = await qemu.writtenBytes().catch((error: unknown) => {
        if (qemu.off) return written;
        throw error;
      });
      return observe(qemu, lan, plan, written);
    };
    return await watch({ qemu, look, plan, startedMs, options });
  });
}

async function planMachine(
  overlays: readonly Overlay[],
  { hardware, guest }: Conversion,
  options: BootOptions,
): Promise<MachinePlan> {
  const { work, machine, signal } = options;
  const qemu = options.qemu ?? "qemu-system-x86_64";
  const context = { folder: work.path, env: work.env, qemu, signal };
  const accelerator = await findAccelerator(context).catch((error: unknown) => {
    signal.throwIfAborted();
    throw cannotStart(qemu, error);
  });
  const uefi = hardware.firmware === "uefi";
  // Half of what is free, as the volumes' own services may run here.
  const free = Math.floor(freemem() / 2 ** 20 / 2);
  const memoryMiB = Math.min(machine.memoryMiB, memoryMostMiB, free);
  return {
    hardware,
    disks: await overlaysOver(overlays, options),
    cpus: Math.max(1, Math.min(machine.cpus, availableParallelism(), cpusMost)),
    memoryMiB: Math.max(memoryMiB, memoryLeastMiB),
    accelerator,
    firmware: uefi ? await copyFirmware(hardware.secureBoot, work.path) : undefined,
    qmpSocket: join(work.path, "qmp"),
    lanSocket: join(work.path, "lan"),
    localTime: guest.os === "windows",
  };
}

/** What the conversion has made stays as it is. */
async function overlaysOver(
  overlays: readonly Overlay[],
  { work, signal, qemuImg = "qemu-img" }: BootOptions,
): Promise<string[]> {
  const paths: string[] = [];
  for (const [index, { path: below }] of overlays.entries()) {
    const path = join(work.path, `boot-${index}.qcow2`);
    const args = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", below, path];
    const made = await runProgram(qemuImg, args, { env: work.env, timeoutMs: 60_000, signal });
    if (made.exitCode !== 0) {
      const said = made.stderr.trim() || "it took too long";
      throw new MigratekitError("boot-failed", `no overlay could be made for the boot: ${said}`);
    }
    paths.push(path);
  }
  return paths;
}

function observe(qemu: Qemu, lan: Lan, plan: MachinePlan, writtenBytes: number): Observations {
  return {
    console: readConsole(qemu.console),
    writtenBytes,
    heard: [...lan.heard],
    macs: plan.hardware.nics.map(({ mac }) => mac),
    restarts: qemu.restarts,
    off: qemu.off,
  };
}

interface Watch {
  readonly qemu: Qemu;
  readonly look: () => Promise<Observations>;
  readonly plan: MachinePlan;
  readonly startedMs: number;
  readonly options: BootOptions;
}

async function watch({ qemu, look, plan, startedMs, options }: Watch): Promise<SignsOfLife> {
  const elapsedMs = () => performance.now() - startedMs;
  let bootMs: number | undefined;
  let seen = await look();
  let judgement = judge(seen);
  while (!judgement.complete && elapsedMs() < options.timeoutMs) {
    await sleep(lookIntervalMs, undefined, { signal: options.signal }).catch(() => {
      options.signal.throwIfAborted();
    });
    seen = await look();
    judgement = judge(seen);
    if (judgement.verdict === "boots") bootMs ??= elapsedMs();
    if (bootMs !== undefined && elapsedMs() > bootMs + settleMs(bootMs)) break;
  }
  if (judgement.verdict === "will-not-boot" && !qemu.off) await sleep(lastWordsMs);
  const screenshot = await takePicture(qemu, options);
  return {
    verdict: judgement.verdict,
    reason: judgement.reason,
    accelerator: plan.accelerator,
    kernel: seen.console.kernel,
    rootMounted: rootIsWritten(seen),
    console: seen.console.up,
    addresses: seen.heard.flatMap((one) =>
      one.kind === "arp" && seen.macs.includes(one.mac)
        ? [{ mac: one.mac, address: one.address }]
        : [],
    ),
    writtenBytes: seen.writtenBytes,
    restarts: seen.restarts,
    consoleTail: lastLines(qemu.console, tailLines),
    screenshot,
    durationMs: Math.round(elapsedMs()),
    bootMs: bootMs === undefined ? undefined : Math.round(bootMs),
  };
}

function settleMs(bootMs: number): number {
  return Math.max(settleLeastMs, bootMs * settlePart);
}

/** A picture that cannot be taken does not change what was seen. */
async function takePicture(qemu: Qemu, options: BootOptions): Promise<string | undefined> {
  const { screenshot, work, logger } = options;
  if (screenshot === undefined || qemu.off) return undefined;
  const made = join(work.path, "screen.png");
  try {
    await qemu.takePicture(made);
    await copyFile(made, screenshot);
    return screenshot;
  } catch (error) {
    logger.warn({ screenshot }, `the picture of the screen could not be kept: ${messageOf(error)}`);
    return undefined;
  }
}
