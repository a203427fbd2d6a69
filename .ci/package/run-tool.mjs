/** Runs a program of the build; nothing of this machine's environment shows in what it makes. */
import { spawnSync } from "node:child_process";

/** @throws Error with the program's output unless it ends with 0 */
export function runTool(command, args, { cwd, env = {} } = {}) {
  const result = spawnSync(command, args, {
    cwd,
    encoding: "utf8",
    env: { PATH: process.env.PATH, HOME: "/nonexistent", LC_ALL: "C", ...env },
    maxBuffer: 2 ** 26,
  });
  if (result.status === 0) return result.stdout;
  const reason = result.error?.message ?? `${result.stdout}${result.stderr}`.trim();
  throw new Error(`${command} ${args.join(" ")}: ${reason}`);
}
