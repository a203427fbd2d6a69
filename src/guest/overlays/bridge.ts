/** A local nbdkit that speaks to a target as libnbd does, and offers it to QEMU read-only. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { MigratekitError } from "../../errors.ts";
import { displayUri, formatNbdUri, parseNbdUri, usesTls } from "../../nbd/target/uri.ts";
import { oneLine } from "../../text.ts";
import { cannotStart } from "../tools/tools.ts";
import { untilListening } from "../work/listening.ts";
import type { WorkFolder } from "../work/work.ts";
import type { OverlayOptions } from "./options.ts";

/**
 * Gives the URI of its socket. It runs until the work folder's undo ends it; its filter
 * connects again for a minute when the line breaks.
 * @throws MigratekitError `guest-tool-missing`, `target-unreachable`; the signal's reason
 */
export async function startBridge(
  uri: string,
  index: number,
  work: WorkFolder,
  options: OverlayOptions,
): Promise<string> {
  const { logger, signal } = options;
  const socket = join(work.path, `bridge-${index}.sock`);
  const child = spawn("nbdkit", bridgeArguments(uri, socket, options.tls), {
    cwd: "/",
    detached: true,
    env: work.env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  if (child.pid === undefined) throw cannotStart("nbdkit", (await once(child, "error"))[0]);
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-4_096);
    logger.debug({ bridge: index }, oneLine(text));
  });
  // It ends with the work folder; this program does not wait for it.
  child.unref();
  (child.stderr as unknown as { unref(): void }).unref();
  const how = await untilListening(child, socket, signal);
  if (how !== undefined) {
    const problem = `nbdkit cannot be put in front of ${displayUri(uri)} (${how}): ${oneLine(said)}`;
    throw new MigratekitError("target-unreachable", problem);
  }
  return `nbd+unix:///?socket=${encodeURIComponent(socket)}`;
}

/** libnbd checks a server by no certificate at all where it is given none: that is refused. */
function bridgeArguments(uri: string, socket: string, tls: OverlayOptions["tls"] = {}): string[] {
  const target = parseNbdUri(uri);
  const certificates = target.parameters.get("tls-certificates") ?? tls.tlsCertDir;
  const psk = target.parameters.get("tls-psk-file") ?? tls.tlsPskFile;
  if (usesTls(target) && certificates === undefined && psk === undefined) {
    throw new MigratekitError("usage", `nothing was given to check ${displayUri(uri)} by`, {
      remedy: "Give --nbd-tls-ca-file, --nbd-tls-certificates or --nbd-tls-psk-file.",
    });
  }
  return [
    ...["-f", "-r", "-U", socket, "--filter=retry", "nbd"],
    `uri=${formatNbdUri({ ...target, parameters: new Map() })}`,
    ...(certificates === undefined ? [] : [`tls-certificates=${certificates}`]),
    ...(psk === undefined ? [] : [`tls-psk=${psk}`]),
  ];
}
