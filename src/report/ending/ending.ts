/** The closing words of a command on a VM, however it ended; with `--json` its document. */
import type { Ending, RunEnding } from "../../ending.ts";
import type { CommandContext } from "../context.ts";
import { failureDocument, markTold, printJson } from "../json/json.ts";
import { sheetOf } from "../table.ts";
import { endingText } from "./text.ts";

/** How work under a report ended (report.ts). */
export interface Outcome<T> {
  readonly ending: Ending;
  /** Of a cutover: the syncs before the last one. */
  readonly earlier: readonly RunEnding[];
  /** What the work gave. */
  readonly result?: T;
  /** What it threw. */
  readonly error?: unknown;
}

interface Telling {
  /** More for `--json`. */
  readonly facts?: object | undefined;
  /** In place of the table of bytes, for people. */
  readonly text?: string | undefined;
}

/** To stdout: the one place that tells how a command on a VM ended. */
export function tellEnding(
  { config }: Pick<CommandContext, "config">,
  outcome: Outcome<unknown>,
  { facts, text }: Telling = {},
): void {
  const { ending, earlier, error } = outcome;
  const failure = "error" in outcome ? failureDocument(error) : undefined;
  if (config.json) printJson({ ...failure, ...ending, ...facts });
  else process.stdout.write(endingText({ ...ending, earlier }, config, sheetOf(config), text));
  markTold(error);
}
