// Imported first: what starts the command line (test/lab/run-cli.ts) then starts the executable.
import { join } from "node:path";

process.env.MIGRATEKIT_TEST_BINARY = join(import.meta.dirname, "../../dist/migratekit");
