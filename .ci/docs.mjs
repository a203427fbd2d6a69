/**
 * Writes what is made from the program's own tables: docs/errors.md, and under build/manual the man
 * page and the shell completions that packages carry.
 *
 *   .ci/node .ci/docs.mjs
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { bashCompletion } from "../src/manual/completion-bash.ts";
import { fishCompletion } from "../src/manual/completion-fish.ts";
import { zshCompletion } from "../src/manual/completion-zsh.ts";
import { errorList } from "../src/manual/error-list.ts";
import { manPages } from "./package/manual.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const version = readFileSync(join(root, "VERSION.txt"), "utf8").trim();
/** As packages are made reproducibly: https://reproducible-builds.org/specs/source-date-epoch/ */
const epoch = process.env.SOURCE_DATE_EPOCH;
const date = (epoch ? new Date(Number(epoch) * 1000) : new Date()).toISOString().slice(0, 10);

write("docs/errors.md", errorList());
for (const [name, page] of manPages(version, date)) write(`build/manual/${name}`, page);
write("build/manual/migratekit.bash", bashCompletion());
write("build/manual/_migratekit", zshCompletion());
write("build/manual/migratekit.fish", fishCompletion());

function write(path, text) {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}
