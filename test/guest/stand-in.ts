import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** A program in another's place, for a PATH that has its folder in front; $HERE is that folder. */
export async function writeStandIn(folder: string, name: string, script: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, name), `#!/bin/sh\nHERE=${folder}\n${script}\n`, { mode: 0o755 });
}
