/** Man page and completions, made from the program's own table of options. */

import { slugOf } from "../../src/command-tree.ts";
import { commandPage } from "../../src/manual/command-page.ts";
import { bashCompletion } from "../../src/manual/completion-bash.ts";
import { fishCompletion } from "../../src/manual/completion-fish.ts";
import { zshCompletion } from "../../src/manual/completion-zsh.ts";
import { manPage } from "../../src/manual/man-page.ts";
import { commandNames } from "../../src/options.ts";

/** @returns {{ manPages: Map<string, string>, bash: string, zsh: string, fish: string }} texts */
export function manualFiles({ version, epoch }) {
  const date = new Date(epoch * 1000).toISOString().slice(0, 10);
  return {
    manPages: manPages(version, date),
    bash: bashCompletion(),
    zsh: zshCompletion(),
    fish: fishCompletion(),
  };
}

/** File name (without a folder) to page: one for the program, one for each command. */
export function manPages(version, date) {
  const own = commandNames.map((name) => [
    `migratekit-${slugOf(name)}.1`,
    commandPage(name, version, date),
  ]);
  return new Map([["migratekit.1", manPage(version, date)], ...own]);
}
