import { Account } from "../account/account.ts";
import type { Reporter } from "../vm/held-vm.ts";

/** For what a cutover does besides syncs: the ending tells of the last one of these. */
export function apart(reporter: Reporter): Reporter {
  const stage: Reporter["stage"] = (...told) => reporter.stage(...told);
  return { stage, tracker: reporter.tracker, account: new Account() };
}
