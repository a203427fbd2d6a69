/** Man page and completions, made from the program's own table of options. */
import { bashCompletion } from "../../src/manual/completion-bash.ts";
import { fishCompletion } from "../../src/manual/completion-fish.ts";
import { zshCompletion } from "../../src/manual/completion-zsh.ts";
import { manPage } from "../../src/manual/man-page.ts";

/** @returns {{ manPage: string, bash: string, zsh: string, fish: string }} texts */
export function manualFiles({ version, epoch }) {
  const date = new Date(epoch * 1000).toISOString().slice(0, 10);
  return {
    manPage: manPage(version, date),
    bash: bashCompletion(),
    zsh: zshCompletion(),
    fish: fishCompletion(),
  };
}
