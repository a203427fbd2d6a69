// `migratekit check` from its arguments to its exit code, without a process of its own.
import { exitCodeOf } from "../../src/commands/check.ts";
import { resolveConfig } from "../../src/config.ts";
import { createLogger } from "../../src/logger.ts";
import { runPreflight } from "../../src/migration/check/check.ts";
import type { Finding } from "../../src/migration/check/finding.ts";
import { buildProgram, type Invocation } from "../../src/program.ts";

export async function preflightHere(
  args: readonly string[],
  env: Record<string, string>,
): Promise<{ findings: readonly Finding[]; code: number }> {
  let invocation: Invocation | undefined;
  const program = buildProgram((found) => {
    invocation = found;
  });
  program.parse([...args], { from: "user" });
  const config = resolveConfig(invocation!.command, invocation!.flags, env);
  const logger = createLogger({ level: "silent", pretty: false });
  const { signal } = new AbortController();
  const { findings } = await runPreflight({ config, logger, signal });
  return { findings, code: exitCodeOf(findings) };
}
