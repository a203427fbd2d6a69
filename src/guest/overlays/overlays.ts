/** Overlays: one qcow2 file for each disk, backed by its NBD target, which is only ever read. */
import { join } from "node:path";
import { MigratekitError } from "../../errors.ts";
import { displayUri } from "../../nbd/target/uri.ts";
import { runProgram } from "../../run-program.ts";
import { oneLine } from "../../text.ts";
import type { GuestDisk, Overlay } from "../machine.ts";
import { cannotStart } from "../tools/tools.ts";
import type { WorkFolder } from "../work/work.ts";
import { backingOf } from "./backing.ts";
import { startBridge } from "./bridge.ts";
import type { OverlayOptions } from "./options.ts";

/** How long a target may take to answer when it is opened. */
const openTimeoutMs = 60_000;

/**
 * One empty overlay for each disk, as large as its target. QEMU reads a target of scheme nbd itself; TLS,
 * and servers that QEMU does not get on with, go through a local nbdkit. The work folder's undo ends and
 * removes all of it.
 * @throws MigratekitError `target-unreachable`, `target-too-small`, `guest-tool-missing`; the signal's reason
 */
export async function makeOverlays(
  disks: readonly GuestDisk[],
  work: WorkFolder,
  options: OverlayOptions,
): Promise<readonly Overlay[]> {
  const overlays: Overlay[] = [];
  for (const [index, disk] of disks.entries()) {
    overlays.push(await makeOverlay(disk, index, work, options));
  }
  return overlays;
}

async function makeOverlay(
  disk: GuestDisk,
  index: number,
  work: WorkFolder,
  options: OverlayOptions,
): Promise<Overlay> {
  const path = join(work.path, `disk-${index}.qcow2`);
  const direct = backingOf(disk.uri);
  let problem = "QEMU does not speak TLS here";
  if (direct !== undefined) {
    const outcome = await create(path, direct, work, options);
    if (outcome.created) return checked(disk, path, work, options);
    problem = outcome.problem;
  }
  options.logger.debug({ diskId: disk.diskId, problem }, "the target is read through a bridge");
  const bridged = backingOf(await startBridge(disk.uri, index, work, options));
  const outcome = await create(path, bridged ?? "", work, options);
  if (outcome.created) return checked(disk, path, work, options);
  throw new MigratekitError(
    "target-unreachable",
    `the target of ${disk.diskId}, ${displayUri(disk.uri)}, cannot be opened: ${outcome.problem}`,
    { context: { disk: disk.diskId } },
  );
}

type Outcome = { readonly created: true } | { readonly created: false; readonly problem: string };

async function create(
  path: string,
  backing: string,
  work: WorkFolder,
  options: OverlayOptions,
): Promise<Outcome> {
  const args = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", backing, path];
  const result = await qemuImg(args, work, options);
  if (result.exitCode === 0) return { created: true };
  const said = oneLine(result.stderr.replaceAll(path, "").replaceAll(backing, "the target"));
  const timeout = `no answer within ${openTimeoutMs / 1_000} s`;
  return { created: false, problem: result.timedOut ? timeout : said };
}

/** The target is as large as the disk at least. */
async function checked(
  disk: GuestDisk,
  path: string,
  work: WorkFolder,
  options: OverlayOptions,
): Promise<Overlay> {
  const { stdout } = await qemuImg(["info", "--output=json", path], work, options);
  const bytes = Number(/"virtual-size": (\d+)/.exec(stdout)?.[1] ?? 0);
  if (bytes >= disk.capacityBytes) return { disk, path };
  throw new MigratekitError(
    "target-too-small",
    `${displayUri(disk.uri)} has ${bytes} bytes, ${disk.diskId} has ${disk.capacityBytes}`,
    { context: { disk: disk.diskId } },
  );
}

async function qemuImg(args: readonly string[], work: WorkFolder, { signal }: OverlayOptions) {
  try {
    return await runProgram("qemu-img", args, {
      env: work.env,
      timeoutMs: openTimeoutMs,
      ...(signal ? { signal } : {}),
    });
  } catch (error) {
    signal?.throwIfAborted();
    throw cannotStart("qemu-img", error);
  }
}
