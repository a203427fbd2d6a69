/** Which migratekit this is. The build puts the answer into the bundle (.ci/build.mjs). */
import { readFileSync } from "node:fs";

export interface BuildInfo {
  /** As in VERSION.txt, the one place where the version stands. */
  readonly version: string;
  /** The commit it was built from; absent when it runs from the sources. */
  readonly commit?: string;
}

/** Replaced by the bundler; not there when the sources are run. */
declare const MIGRATEKIT_BUILD_INFO: BuildInfo;

export const buildInfo: BuildInfo =
  typeof MIGRATEKIT_BUILD_INFO === "undefined" ? fromSources() : MIGRATEKIT_BUILD_INFO;

function fromSources(): BuildInfo {
  return {
    version: readFileSync(new URL("../VERSION.txt", import.meta.url), "utf8").trim(),
  };
}
