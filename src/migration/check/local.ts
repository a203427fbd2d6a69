/** The part of a preflight that looks at this machine: tools, state directory, progress API. */
import { accessSync, constants, existsSync } from "node:fs";
import { stat, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { resolve } from "node:path";
import { MigratekitError, messageOf } from "../../errors.ts";
import { fileProblem } from "../../file-problem.ts";
import { libnbdVersion } from "../../nbd/copy-engine/copy-engine.ts";
import type { NbdkitInspection } from "../../nbd/nbdkit/inspect.ts";
import { VmaHttp } from "../../progress/vma/http.ts";
import { checkWritable, ensurePrivateDirectory } from "../../state/database/directory.ts";
import { checkFileSystem, nearestExisting } from "../../state/database/file-system.ts";
import { formatBytes } from "../../text.ts";
import { type Finding, ok, warning } from "./finding.ts";

/** @throws MigratekitError `native-missing` */
export function checkEngine(): Finding[] {
  return [ok("source", `copy engine with libnbd ${libnbdVersion()}`)];
}

/** nbdkit, its plugin and VMware's library, as an inspection found them. @throws what it rejects with */
export async function checkNbdkit(
  found: Promise<NbdkitInspection>,
  vddkLibdir: string,
): Promise<Finding[]> {
  const inspection = await found;
  const { nbdkitVersion, pluginVersion, pluginPath, vddkLibraryVersion = "?" } = inspection;
  return [
    ok(
      "source",
      `nbdkit ${nbdkitVersion}, VDDK plugin ${pluginVersion} (${pluginPath}), ` +
        `VDDK ${vddkLibraryVersion} in ${vddkLibdir}`,
    ),
    ...versionWarnings(inspection),
  ];
}

function versionWarnings(inspection: NbdkitInspection): Finding[] {
  const { pluginVersion, vddkLibraryVersion } = inspection;
  const found: Finding[] = [];
  if (isOlder(pluginVersion, [1, 30])) {
    found.push(
      warning(
        "source",
        `the VDDK plugin ${pluginVersion} reads one block after another (asynchronous reads came with 1.30)`,
        "Install nbdkit 1.30 or newer.",
      ),
    );
  }
  if (vddkLibraryVersion !== undefined && isOlder(vddkLibraryVersion, [7])) {
    found.push(
      warning(
        "source",
        `VDDK ${vddkLibraryVersion}: before 6.7 it tells nothing of what is allocated, so that all is read`,
        "Unpack VDDK 7 or 8 and give its directory with --vddk-libdir.",
      ),
    );
  }
  return found;
}

function isOlder(version: string, than: readonly number[]): boolean {
  const parts = version.split(".").map(Number);
  for (const [at, wanted] of than.entries()) {
    const part = parts[at] ?? 0;
    if (part !== wanted) return part < wanted; // never for a version that is no number
  }
  return false;
}

/** @throws MigratekitError `usage` */
export async function checkVddkConfig(vddkConfig: string | undefined): Promise<Finding[]> {
  if (vddkConfig === undefined) return [];
  const path = resolve(vddkConfig);
  const reason = await stat(path).then(
    (found) => (found.isFile() ? undefined : "it is not a file"),
    fileProblem,
  );
  if (reason === undefined) return [ok("source", `VDDK configuration ${path}`)];
  throw new MigratekitError("usage", `the VDDK configuration ${path} cannot be used: ${reason}`, {
    remedy: "Correct --vddk-config, or leave it out.",
  });
}

/** Sockets and VDDK's own files go there. @throws MigratekitError `source-open` */
export function checkTempDir(): Finding[] {
  const dir = tmpdir();
  try {
    accessSync(dir, constants.W_OK | constants.X_OK);
    return [];
  } catch (error) {
    throw new MigratekitError(
      "source-open",
      `no private directory for nbdkit can be made in ${dir}: ${messageOf(error)}`,
      { remedy: "Check the owner and mode of the temporary directory (TMPDIR)." },
    );
  }
}

const comfortableBytes = 64 * 1024 * 1024;

/** Looks only; a directory that is missing is not made. @throws MigratekitError `state-unusable` */
export async function checkStateDir(stateDir: string): Promise<Finding[]> {
  checkFileSystem(stateDir);
  const exists = existsSync(stateDir);
  if (exists) ensurePrivateDirectory(stateDir);
  const place = exists ? stateDir : nearestExisting(stateDir);
  checkWritable(place);
  const { bavail, bsize } = await statfs(place);
  const freeBytes = bavail * bsize;
  const free = `${formatBytes(freeBytes)} free`;
  const found = [ok("state", `${stateDir}: ${exists ? "" : "will be created, "}${free}`)];
  if (freeBytes >= comfortableBytes) return found;
  return [
    warning(
      "state",
      `the state directory ${stateDir} has only ${free}`,
      "Make room there, or give another --state-dir: an interrupted copy could not be resumed.",
    ),
  ];
}

const apiTimeoutMs = 3000;

/** Reporting can do no harm, so nothing here is a problem. */
export async function checkProgressApi(
  vmaUrl: string,
  jobId: string | undefined,
  signal: AbortSignal,
): Promise<Finding[]> {
  if (jobId === undefined) return [ok("progress", "no --job-id: progress is not reported")];
  const reason = await new VmaHttp(vmaUrl, jobId).get(apiTimeoutMs, signal).then(
    // A job that it does not know is created by the first update.
    ({ status }) => (status < 300 || status === 404 ? undefined : `it answered HTTP ${status}`),
    messageOf,
  );
  signal.throwIfAborted();
  if (reason === undefined) return [ok("progress", `VMA API at ${vmaUrl}`)];
  return [
    warning(
      "progress",
      `the VMA API at ${vmaUrl} cannot be used, so progress would not be seen there: ${reason}`,
      "Check --vma-url and that the service runs; the migration itself does not need it.",
    ),
  ];
}
