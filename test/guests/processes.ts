import { readdirSync, readFileSync } from "node:fs";

/** Processes that were given this folder, by their command line or their environment. */
export function processesOf(folder: string): string[] {
  return readdirSync("/proc").filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      const texts = ["cmdline", "environ"].map((file) => readFileSync(`/proc/${name}/${file}`));
      return texts.some((text) => text.includes(folder));
    } catch {
      return false;
    }
  });
}
