// The independent judge: cmp, over what the snapshot held and what the target holds.

import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface Comparison {
  equal: boolean;
  /** cmp's own words for the first difference, or "". */
  difference: string;
  frozenImage: string;
  targetFile: string;
}

/** Compares the first `capacityBytes` of both files, byte for byte. */
export async function compareFiles(
  frozenImage: string,
  targetFile: string,
  capacityBytes: number,
): Promise<Comparison> {
  try {
    await run("cmp", ["-n", String(capacityBytes), "--", frozenImage, targetFile]);
    return { equal: true, difference: "", frozenImage, targetFile };
  } catch (error) {
    const { code, stdout, stderr } = error as { code?: unknown; stdout?: string; stderr?: string };
    // 1: they differ, or one ends too early; everything else is a comparison that did not happen.
    if (code !== 1) throw error;
    return { equal: false, difference: `${stdout}${stderr}`.trim(), frozenImage, targetFile };
  }
}
