import type { FaultBoard } from "./fault-board.ts";

/** What a machine needs of the lab around it. */
export interface VmEnvironment {
  readonly labDir: string;
  readonly faults: FaultBoard;
  readonly datacenterName: string;
  /** Next free number for morefs. */
  nextNumber(): number;
  /** Saves the state and wakes those who wait for updates. */
  changed(): void;
}
