/** Texts that ship with the program: read from inside a single executable, else from beside the sources. */

import { readFileSync } from "node:fs";
import { getAsset, isSea } from "node:sea";

/**
 * The text of one asset, named by its path below `src/` (`"vmware/wire/vim.wsdl"`).
 * The build puts assets into the executable under the same names.
 */
export function readAsset(name: string): string {
  if (isSea()) return getAsset(name, "utf8");
  return readFileSync(new URL(name, import.meta.url), "utf8");
}
