/** What an overlay holds itself, data and zeroes apart. */
import { MigratekitError, messageOf } from "../../errors.ts";
import type { WorkFolder } from "../../guest/guest.ts";
import { normalize } from "../../ranges.ts";
import { runProgram } from "../../run-program.ts";
import { oneLine } from "../../text.ts";
import { topLayer } from "./serve.ts";

/** Pairs [offset, length], sorted and disjoint. */
export interface OverlayExtents {
  readonly data: Float64Array;
  readonly zero: Float64Array;
}

interface MapEntry {
  readonly start: number;
  readonly length: number;
  readonly present?: boolean;
  readonly zero: boolean;
}

const timeoutMs = 120_000;
/** About a million extents. */
const outputCharsMax = 160 * 1024 * 1024;

/**
 * Of the top layer alone; what is under it is not asked.
 * @throws MigratekitError `guest-tool-missing`, `overlay-unreadable`; the signal's reason
 */
export async function readOverlayExtents(
  work: WorkFolder,
  path: string,
  signal?: AbortSignal,
): Promise<OverlayExtents> {
  const args = ["map", "--output=json", topLayer(path)];
  const options = { env: work.env, timeoutMs, outputCharsMax, ...(signal && { signal }) };
  const { exitCode, stdout, stderr } = await runProgram("qemu-img", args, options).catch(
    (error: unknown) => {
      signal?.throwIfAborted();
      throw unreadable(path, messageOf(error));
    },
  );
  if (exitCode !== 0) throw unreadable(path, oneLine(stderr) || "qemu-img did not end");
  const data: number[] = [];
  const zero: number[] = [];
  for (const entry of parseMap(path, stdout)) {
    if (entry.present) (entry.zero ? zero : data).push(entry.start, entry.length);
  }
  return { data: normalize(Float64Array.from(data)), zero: normalize(Float64Array.from(zero)) };
}

function parseMap(path: string, json: string): readonly MapEntry[] {
  let entries: unknown;
  try {
    entries = JSON.parse(json);
  } catch {
    throw unreadable(path, "qemu-img's list of its extents is no JSON");
  }
  if (!Array.isArray(entries)) throw unreadable(path, "qemu-img's list of its extents is no list");
  for (const { start, length, present, zero } of entries) {
    // Before 6.1 a zero cluster of the overlay looks as one that it leaves out.
    if (typeof present !== "boolean") throw unreadable(path, "qemu-img 6.1 or newer is needed");
    if (!Number.isSafeInteger(start) || !Number.isSafeInteger(length) || typeof zero !== "boolean")
      throw unreadable(path, "qemu-img's list of its extents has another form");
  }
  return entries;
}

function unreadable(path: string, why: string): MigratekitError {
  return new MigratekitError(
    "overlay-unreadable",
    `what the overlay ${path} holds cannot be told: ${why}`,
  );
}
