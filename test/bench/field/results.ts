/** What the field's cells find out: a part of the bench's JSON. */
import type { ContenderName } from "../results.ts";
import type { Verdict } from "./servers.ts";

/** One contender at a copy without end, by phase; the median of its runs. */
export interface RateContender {
  name: ContenderName;
  settings: string;
  /** Bytes a second over the last two fifths of each phase; of fixed settings: at the phase's pace alone. */
  rates: number[];
  /**
   * From the phase's begin until 0.9 of what the best fixed settings reach, the time in which source connections
   * were opened left out; null: not in this phase. Only of ours.
   */
  settledMs?: (number | null)[];
  /** Source connections in all, the first included, and those that were refused; the most of all runs. */
  opened: number;
  refused: number;
}

export interface RateResult {
  kind: "rate";
  name: string;
  phaseMs: number;
  /** Of the line, bytes a second. */
  lineRate?: number;
  roundTripMs?: number;
  contenders: RateContender[];
}

export interface WholeResult {
  kind: "whole";
  name: string;
  contenders: {
    name: ContenderName;
    wallMs: number;
    /** The most that the target's cache held. */
    dirtyBytes: number;
    flushes: number;
    verdict: Verdict;
  }[];
}

export interface ManyResult {
  kind: "many";
  name: string;
  against: "first" | "one";
  contenders: {
    name: ContenderName;
    eachMs: number[];
    /** Bytes a second of all copies together, and of one of the same size. */
    rate: number;
    rateOfOne?: number;
  }[];
}

export type FieldResult = RateResult | WholeResult | ManyResult;
