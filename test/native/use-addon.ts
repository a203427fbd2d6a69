/** Imported first by tests that run with another build of the addon: its path is in MIGRATEKIT_TEST_ADDON. */
import { setNativePath } from "../../src/nbd/copy-engine/copy-engine.ts";

setNativePath(process.env.MIGRATEKIT_TEST_ADDON ?? "");
