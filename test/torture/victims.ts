// Who can be killed, found in /proc as a murderer would.

import { commandLineOf, descendantsOf } from "../lab/process-table.ts";

/** Kills every nbdkit below a process; after its re-exec it is called `exe`, its arguments tell. */
export function killNbdkitBelow(root: number): void {
  for (const { pid } of descendantsOf(root)) {
    if (!/\bnbdkit\b/.test(commandLineOf(pid))) continue;
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It was faster.
    }
  }
}
