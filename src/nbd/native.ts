import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { MigratekitError, messageOf } from "../errors.ts";
import type { NativeAddon } from "./native-types.ts";

let loaded: NativeAddon | undefined;
let addonPath: string | undefined;

/**
 * Says where the addon is, before it is first needed. A single executable calls this with the
 * place it extracted the addon to; from a checkout nobody has to.
 */
export function setNativePath(path: string): void {
  addonPath = path;
}

/**
 * Loads the addon once. It is linked with libnbd, so a machine without libnbd fails here and not
 * at start-up.
 * @throws MigratekitError native-missing
 */
export function loadNative(path?: string): NativeAddon {
  if (loaded) return loaded;
  const file = path ?? addonPath ?? fileURLToPath(developmentUrl());
  try {
    if (!existsSync(file)) throw new Error(`${file} does not exist`);
    loaded = createRequire(import.meta.url)(file) as NativeAddon;
  } catch (error) {
    const text = messageOf(error);
    const withoutLibnbd = text.includes("libnbd");
    throw new MigratekitError(
      "native-missing",
      withoutLibnbd
        ? `The copy engine needs the library libnbd.so.0, which this machine does not have: ${text}`
        : `The copy engine could not be loaded: ${text}`,
      withoutLibnbd
        ? { cause: error }
        : { cause: error, remedy: "Build it with 'npm run setup', or reinstall migratekit." },
    );
  }
  return loaded;
}

function developmentUrl(): URL {
  return new URL("../../build/Release/migratekit.node", import.meta.url);
}
