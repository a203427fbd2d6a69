/** A cutover that was completed, as documents and lines have it. */
import type { CutOver } from "../state/cut-over.ts";

/** `cut_over` of `list`, `history` and `status`. */
export interface CutOverDocument {
  /** ISO 8601 */
  readonly at: string;
  readonly run_id: string;
  /** The machine in CloudStack. */
  readonly instance?: { readonly name: string; readonly id: string };
}

export function cutOverDocument({ at, runId, instance }: CutOver): CutOverDocument {
  return { at, run_id: runId, ...(instance && { instance }) };
}

/** `cut over at … (run …) to web01 in CloudStack (…)`. */
export function cutOverText({ at, runId, instance }: CutOver): string {
  const where = instance ? ` to ${instance.name} in CloudStack (${instance.id})` : "";
  return `cut over at ${at} (run ${runId})${where}`;
}
