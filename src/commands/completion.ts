import { exitCodes, MigratekitError } from "../errors.ts";
import { bashCompletion } from "../manual/completion-bash.ts";
import { fishCompletion } from "../manual/completion-fish.ts";
import { zshCompletion } from "../manual/completion-zsh.ts";
import type { CommandContext } from "../report/context.ts";

const shells: Readonly<Record<string, () => string>> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
};

/** `migratekit completion SHELL`: the script on stdout. */
export async function run({ operands }: CommandContext): Promise<number> {
  const [shell = ""] = operands;
  if (!Object.hasOwn(shells, shell)) {
    throw new MigratekitError("usage", `completion knows no shell "${shell}"`, {
      remedy: `Give one of ${Object.keys(shells).join(", ")}.`,
    });
  }
  process.stdout.write(shells[shell]!());
  return exitCodes.success;
}
