/** Loads an addon as a single executable does: `load-addon.ts IMAGE DIRECTORY…`; one line of JSON. */
import { readFileSync } from "node:fs";
import { messageOf } from "../../src/errors.ts";
import { loadEmbeddedAddon } from "../../src/nbd/copy-engine/addon-extraction.ts";

const [image = "", ...directories] = process.argv.slice(2);
try {
  const addon = loadEmbeddedAddon(readFileSync(image), directories) as { libnbdVersion(): string };
  console.log(JSON.stringify({ libnbd: addon.libnbdVersion() }));
} catch (error) {
  console.log(JSON.stringify({ error: messageOf(error) }));
}
