/** A disk as the side of the targets knows it, and how messages name it. */
import { MigratekitError } from "../../errors.ts";
import { sizeText } from "../../text.ts";
import { displayUri } from "./uri.ts";

export interface TargetDisk {
  /** VMware's device key, such as 2000. */
  readonly key: number;
  /** "Hard disk 1" */
  readonly label: string;
  readonly capacityBytes: number;
  /** What `{index}` stands for, counted from 0; absent: its place in the list. */
  readonly index?: number;
}

/** "disk-2000 (Hard disk 1, 40.0 GiB)" */
export function describeDisk({ key, label, capacityBytes }: TargetDisk): string {
  return `disk-${key} (${label}, ${sizeText(capacityBytes)})`;
}

/** @returns MigratekitError `usage`: writing one disk over another has destroyed data */
export function sharedTarget(one: string, other: string, uri: string): MigratekitError {
  return new MigratekitError(
    "usage",
    `${one} and ${other} would both be written to ${displayUri(uri)}`,
    { remedy: "Give each disk an export of its own." },
  );
}
