/** How far the holder of a VM's lock is, in a file beside the lock: for who looks on, never for a decision. */
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createPrivateFile } from "../database/directory.ts";
import { lockFiles } from "./lock.ts";

export interface LiveAmounts {
  readonly transferredBytes: number;
  readonly totalBytes: number;
  readonly percent: number;
  readonly throughputBps: number;
  readonly etaSeconds?: number | undefined;
}

export interface LiveDisk extends LiveAmounts {
  readonly diskId: string;
  readonly syncType: string;
}

export interface LiveProgress {
  readonly runId: string;
  readonly stage: string;
  readonly detail?: string | undefined;
  readonly syncType?: string | undefined;
  readonly disks: readonly LiveDisk[];
  readonly total: LiveAmounts;
}

/** Only the holder of the VM's lock calls it. @throws MigratekitError `state-unusable`; errors of the system */
export function writeLiveProgress(
  stateDir: string,
  instanceUuid: string,
  progress: LiveProgress,
): void {
  const path = lockFiles(stateDir, instanceUuid).progressPath;
  const temporary = `${path}.new`;
  rmSync(temporary, { force: true });
  createPrivateFile(temporary);
  writeFileSync(temporary, `${JSON.stringify(progress)}\n`);
  renameSync(temporary, path);
}

export function removeLiveProgress(stateDir: string, instanceUuid: string): void {
  const path = lockFiles(stateDir, instanceUuid).progressPath;
  for (const name of [path, `${path}.new`]) rmSync(name, { force: true });
}

/** What this run told last; undefined where it told nothing that can be read. */
export function readLiveProgress(
  stateDir: string,
  instanceUuid: string,
  runId: string,
): LiveProgress | undefined {
  try {
    const path = lockFiles(stateDir, instanceUuid).progressPath;
    const found: unknown = JSON.parse(readFileSync(path, "utf8"));
    // A run that was killed leaves its own behind.
    return isProgress(found) && found.runId === runId ? found : undefined;
  } catch {
    return undefined;
  }
}

function isProgress(value: unknown): value is LiveProgress {
  if (typeof value !== "object" || value === null) return false;
  const { runId, stage, disks, total } = value as Partial<LiveProgress>;
  const isAmounts = (amounts: unknown) =>
    typeof amounts === "object" &&
    amounts !== null &&
    ["transferredBytes", "totalBytes", "percent", "throughputBps"].every((name) =>
      Number.isFinite((amounts as Record<string, unknown>)[name]),
    );
  return (
    typeof runId === "string" &&
    typeof stage === "string" &&
    isAmounts(total) &&
    Array.isArray(disks) &&
    disks.every((disk) => isAmounts(disk) && typeof disk.diskId === "string")
  );
}
