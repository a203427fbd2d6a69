/** virt-v2v-in-place on all overlays at once: started, watched, listened to. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import type { Logger } from "pino";
import { drained, exited, stopProcess } from "../../stop-process.ts";
import type { LuksKey } from "../inspect/unlock.ts";
import type { GuestHardware, Overlay } from "../machine.ts";
import { cannotStart } from "../tools/tools.ts";
import type { WorkFolder } from "../work/work.ts";
import { libvirtXml } from "./libvirt-xml.ts";
import { MessageCollector, type V2vMessage } from "./messages.ts";

export interface V2vOptions {
  readonly work: WorkFolder;
  readonly logger: Logger;
  /** Ends it: limits and interruptions. */
  readonly signal: AbortSignal;
  /** KVM does not run guests here. */
  readonly forceTcg: boolean;
  /** `single`: more than one operating system is an error of its; `first`, or a device of the guest. */
  readonly root?: string;
  /** Drivers for Windows: the ISO or a folder. */
  readonly virtioWin?: string;
  /** Of `--mac`: 52:54:00:00:00:01:ip:192.0.2.7,192.0.2.1,24,192.0.2.53 */
  readonly macs: readonly string[];
  readonly luksKeys?: readonly LuksKey[];
}

export interface V2vOutcome {
  /** 0: it thinks that it has converted the guest, which proves little. */
  readonly exitCode: number;
  readonly messages: readonly V2vMessage[];
}

/** Where Enterprise Linux keeps what is no command of its users. */
const libexecPath = "/usr/libexec/virt-v2v-in-place";

export const v2vProgram = (): string =>
  existsSync(libexecPath) ? libexecPath : "virt-v2v-in-place";

/**
 * @throws the signal's reason (whatever it has started is ended then), `guest-tool-missing` when it cannot
 *   be run
 */
export async function runV2v(
  overlays: readonly Overlay[],
  hardware: GuestHardware,
  options: V2vOptions,
): Promise<V2vOutcome> {
  const { work, logger, signal } = options;
  signal.throwIfAborted();
  const xml = join(work.path, "machine.xml");
  await writeFile(xml, libvirtXml(hardware, overlays));
  const program = v2vProgram();
  const verbose = logger.isLevelEnabled("debug");
  const keys = await keySelectors(options);
  const child = spawn(program, v2vArguments(xml, verbose, keys, options), {
    cwd: work.path,
    detached: true,
    env: v2vEnvironment(options),
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (child.pid === undefined)
    throw cannotStart("virt-v2v-in-place", (await once(child, "error"))[0]);
  const collector = new MessageCollector(logger);
  followLines(child.stdout, (line) => collector.take(line));
  followLines(child.stderr, (line) => collector.takeDebug(line));
  const stop = () => void stopProcess(child, { termTimeoutMs: 1_000 });
  signal.addEventListener("abort", stop, { once: true });
  await exited(child);
  signal.removeEventListener("abort", stop);
  signal.throwIfAborted();
  await drained(child);
  return { exitCode: child.exitCode ?? 1, messages: collector.messages };
}

/** Of `--key`. Between its colons no name of a file may have one, so the names are ours. */
async function keySelectors({ work, luksKeys = [] }: V2vOptions): Promise<string[]> {
  const selectors: string[] = [];
  for (const [index, { uuid, file }] of luksKeys.entries()) {
    const link = join(work.path, `key-${index}`);
    await rm(link, { force: true });
    await symlink(file, link);
    selectors.push(`${uuid}:file:${link}`);
  }
  return selectors;
}

function v2vArguments(
  xml: string,
  verbose: boolean,
  keys: readonly string[],
  options: V2vOptions,
): string[] {
  const { root = "single", macs } = options;
  return [
    ...(verbose ? ["-v", "-x"] : []),
    ...["--machine-readable=stream:stdout", "--root", root],
    ...macs.flatMap((mac) => ["--mac", mac]),
    ...keys.flatMap((key) => ["--key", key]),
    ...["-i", "libvirtxml", xml],
  ];
}

function v2vEnvironment({ work, forceTcg, virtioWin }: V2vOptions): Record<string, string> {
  return {
    ...work.env,
    ...(forceTcg ? { LIBGUESTFS_BACKEND_SETTINGS: "force_tcg" } : {}),
    ...(virtioWin === undefined ? {} : { VIRTIO_WIN: virtioWin }),
  };
}

function followLines(stream: Readable, take: (line: string) => void): void {
  let partial = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    const lines = (partial + chunk).split("\n");
    partial = (lines.pop() ?? "").slice(-lineCharsMax);
    for (const line of lines) take(line);
  });
  stream.once("close", () => {
    if (partial !== "") take(partial);
  });
}

const lineCharsMax = 64 * 1024;
