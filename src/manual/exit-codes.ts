import { exitCodes } from "../errors.ts";

const meanings: Record<keyof typeof exitCodes, string> = {
  success: "success",
  bug: "a bug in migratekit",
  usage: "usage: a flag, variable or configuration field",
  vsphere: "vSphere",
  source: "source: nbdkit, VDDK, the ESXi host",
  target: "target: the NBD server",
  changeIdStore: "what is kept of runs: change-ID store, state directory, a job's progress",
  locked: "the VM or a target is locked or taken",
  mismatch: "verification found a difference",
  guest: "the guest: a conversion failed, or the machine would not boot",
  cloudstack: "CloudStack's API",
  fleetDatabase: "the fleet's database",
};

/** Every exit code and what it means; a signal adds 128+N. */
export const exitCodeTable: readonly { readonly code: number; readonly meaning: string }[] =
  Object.entries(exitCodes).map(([name, code]) => ({
    code,
    meaning: meanings[name as keyof typeof exitCodes],
  }));

export const exitCodeNotes = [
  "A run that a signal ends dies by that signal: 128+N in a shell.",
  "With --vms it is 0 if every VM was migrated, else the code of the first VM in the list's order that was not.",
] as const;
