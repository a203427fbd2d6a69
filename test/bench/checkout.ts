/** The copy engine of this checkout, or of another one that has its addon built. */
import { join } from "node:path";

type CopyEngine = typeof import("../../src/nbd/copy-engine/copy-engine.ts");

const ours = join(import.meta.dirname, "../..");

export async function engineOf(checkout = ours): Promise<CopyEngine> {
  return (await import(join(checkout, "src/nbd/copy-engine/copy-engine.ts"))) as CopyEngine;
}
