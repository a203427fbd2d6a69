import { MigratekitError } from "../../errors.ts";
import { displayUri } from "../../nbd/target/uri.ts";
import { runProgram } from "../../run-program.ts";
import { oneLine } from "../../text.ts";
import type { Overlay } from "../machine.ts";
import type { WorkFolder } from "../work/work.ts";

const openTimeoutMs = 30_000;

/**
 * Whether the targets can still be read: a program that works on an overlay tells of a target that was
 * lost as of a broken disk.
 * @throws MigratekitError `target-unreachable`
 */
export async function requireTargets(
  overlays: readonly Overlay[],
  { env }: WorkFolder,
): Promise<void> {
  for (const { disk, path } of overlays) {
    // What virt-v2v started may still have the overlay open.
    const args = ["info", "--force-share", "--backing-chain", path];
    const result = await runProgram("qemu-img", args, { env, timeoutMs: openTimeoutMs });
    if (result.exitCode === 0) continue;
    throw new MigratekitError(
      "target-unreachable",
      `the target of ${disk.diskId}, ${displayUri(disk.uri)}, was lost while the guest was converted`,
      { cause: new Error(oneLine(result.stderr)), context: { disk: disk.diskId } },
    );
  }
}
