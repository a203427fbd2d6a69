/** Tells whether what something is made from has changed. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { underRoot } from "./run.mjs";

/** A hash of these files and folders of the repository (a missing one counts as empty) and a text. */
export function fingerprintOf(paths, also) {
  const hash = createHash("sha256").update(also);
  for (const path of paths.flatMap(filesUnder)) {
    hash.update(`\0${path}\0`).update(readFileSync(underRoot(path)));
  }
  return hash.digest("hex");
}

function filesUnder(path) {
  const found = statSync(underRoot(path), { throwIfNoEntry: false });
  if (!found) return [];
  if (!found.isDirectory()) return [path];
  return readdirSync(underRoot(path))
    .sort()
    .flatMap((name) => filesUnder(join(path, name)));
}
