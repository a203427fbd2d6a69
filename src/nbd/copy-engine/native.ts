import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { getRawAsset, isSea } from "node:sea";
import { fileURLToPath } from "node:url";
import { MigratekitError, messageOf } from "../../errors.ts";
import { loadEmbeddedAddon } from "./addon-extraction.ts";
import type { NativeAddon } from "./native-types.ts";

let loaded: NativeAddon | undefined;
let addonPath: string | undefined;

/** Says where the addon is, before it is first needed; without it, it is where the build left it. */
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
  const file = path ?? addonPath;
  try {
    loaded = (
      isSea() && file === undefined
        ? loadEmbeddedAddon(new Uint8Array(getRawAsset("migratekit.node")))
        : loadFile(file ?? fileURLToPath(developmentUrl()))
    ) as NativeAddon;
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

function loadFile(file: string): unknown {
  if (!existsSync(file)) throw new Error(`${file} does not exist`);
  return createRequire(import.meta.url)(file);
}

function developmentUrl(): URL {
  return new URL("../../../build/Release/migratekit.node", import.meta.url);
}
