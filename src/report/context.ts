import type { Logger } from "pino";
import type { Config, GivenFlags } from "../config.ts";
import type { LogView } from "./log-view.ts";

/** What every subcommand gets. */
export interface CommandContext {
  readonly config: Config;
  readonly logger: Logger;
  readonly view: LogView;
  /** Aborted by the first SIGINT, SIGTERM or SIGHUP. */
  readonly signal: AbortSignal;
  readonly operands: readonly string[];
  /** As typed; only for settings that are resolved again, VM by VM. */
  readonly flags: GivenFlags;
}

export interface CommandModule {
  /** Gives the exit code; a foreseen failure is thrown as MigratekitError. */
  run(context: CommandContext): Promise<number>;
}
