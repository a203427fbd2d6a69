/** What the program says on stderr itself, besides the log of a run: that a signal came, how it ended. */
import { inspect } from "node:util";
import type { Logger } from "pino";
import { MigratekitError, messageOf } from "../errors.ts";
import { Interruption } from "../interruption.ts";
import type { CommandName } from "../options.ts";

/** What to do after an interruption, where that is not plain. */
const nextSteps: Partial<Record<CommandName, string>> = {
  migrate: "run it again: it goes on from what is copied",
  cutover: "run it again: it goes on from what is copied",
  verify: "run it again: it begins anew",
  cleanup: "run it again: it goes on with what is left",
};

export class Voice {
  #write = (text: string): void => {
    process.stderr.write(text);
  };
  #log: Logger | undefined;

  /** A live view, while there is one, would wipe what is not told to it. */
  speakThrough(view: { write(text: string): void }): void {
    this.#write = (text) => view.write(text);
  }

  /** From here on nothing but lines of this log is written: `--log-format json`. */
  speakAs(log: Logger): void {
    this.#log = log;
  }

  /** A first signal came. */
  stopping(signal: NodeJS.Signals): void {
    const hint = signal === "SIGHUP" ? "" : "; once more to stop at once";
    const text = `${signal}: finishing politely${hint}`;
    if (this.#log) this.#log.warn({ signal }, text);
    else this.#write(`migratekit: ${text}\n`);
  }

  /** The last words of a command that threw `error`. */
  async ended(
    error: unknown,
    command: CommandName | undefined,
    { debug, told }: { debug: boolean; told: boolean },
  ): Promise<void> {
    if (error instanceof Interruption) this.#interrupted(error, command, told);
    else if (error instanceof MigratekitError) await this.#failed(error, debug);
    else await this.bug(error);
  }

  /** `told`: the closing summary stands there already, with what to type next. */
  #interrupted(
    { message, signal }: Interruption,
    command: CommandName | undefined,
    told: boolean,
  ): void {
    const next = command && nextSteps[command];
    const text = `${command ?? "migratekit"} was ${message}`;
    if (this.#log) this.#log.warn({ code: "interrupted", signal, next }, text);
    else if (told) this.#write(`${text}\n`);
    else if (next !== undefined) this.#write(`${text}\n  next: ${next}\n`);
  }

  async #failed(error: MigratekitError, debug: boolean): Promise<void> {
    const { code, message, remedy } = error;
    if (this.#log) {
      this.#log.error({ code, remedy, ...(debug ? { error } : {}) }, message);
      return;
    }
    const { redact, withoutControls } = await import("../logger.ts");
    const oneLine = (text: string) => withoutControls(text.replaceAll(/\s*\n\s*/g, " "));
    const lines = `error [${code}]: ${oneLine(message)}\n  fix: ${oneLine(remedy)}\n`;
    this.#write(redact(debug ? `${lines}${withoutControls(inspect(error))}\n` : lines));
  }

  async bug(error: unknown): Promise<void> {
    if (this.#log) {
      this.#log.fatal({ code: "bug", error }, messageOf(error));
      return;
    }
    const { redact } = await import("../logger.ts");
    const stack = error instanceof Error ? error.stack : messageOf(error);
    this.#write(redact(`error [bug]: ${stack}\n  fix: report this with the lines above\n`));
  }
}
