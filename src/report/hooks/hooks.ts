/** What of the operator's is told before a command touches anything, and after it has ended: programs, a server. */
import { accessSync, constants, statSync } from "node:fs";
import { resolve } from "node:path";
import type { Logger } from "pino";
import { buildInfo } from "../../build-info.ts";
import { type Config, endpointText, plainEnvironment } from "../../config.ts";
import { exitCodes, MigratekitError, messageOf } from "../../errors.ts";
import { fileProblem } from "../../file-problem.ts";
import { redact } from "../../logger.ts";
import { recordEarlyFailure } from "../../migration/vm/early-failure.ts";
import { type ProgramResult, runProgram } from "../../run-program.ts";
import { formatDuration, oneLine } from "../../text.ts";
import { failureDocument } from "../json/json.ts";
import { Webhook } from "./webhook.ts";

export interface HookContext {
  readonly config: Config;
  readonly logger: Logger;
  /** Ends a before-hook early; an after-hook runs to its own end. */
  readonly signal?: AbortSignal | undefined;
}

const linesMax = 100;

/**
 * Does `work`, which calls `before` before it touches anything, and then tells after-hook and webhook. What these do changes nothing of the ending.
 * @throws MigratekitError `usage` for a hook that cannot be run, `hook-failed`, `webhook-failed`; whatever `work` throws
 */
export async function withHooks<T>(
  context: HookContext,
  work: (before: () => Promise<void>) => Promise<T>,
): Promise<T> {
  const { config, logger } = context;
  // All at the start: what would fail in the end is refused now.
  for (const name of ["hook-before", "hook-after"] as const)
    checkProgram(name, pathOf(config, name));
  const webhook = Webhook.of(config, logger);
  const started = Date.now();
  const startedMs = performance.now();
  const facts = { ...factsOf(config), started_at: new Date(started).toISOString() };
  const after = async (ending: object) => {
    const duration_ms = Math.round(performance.now() - startedMs);
    const input = { event: "after", ...facts, duration_ms, ...ending };
    await Promise.all([runAfter(context, input), webhook?.tell(input)]);
  };
  let result: T;
  try {
    result = await work(async () => {
      const input = { event: "before", ...facts };
      await runBefore(context, input);
      if (config.webhookRequired) await askWebhook(context, webhook, input);
    });
  } catch (error) {
    await after(failureDocument(error));
    throw error;
  }
  const summary = typeof result === "object" && result !== null ? { summary: result } : {};
  await after({ status: "completed", exit_code: exitCodes.success, ...summary });
  return result;
}

function pathOf(config: Config, name: "hook-before" | "hook-after"): string | undefined {
  return name === "hook-before" ? config.hookBefore : config.hookAfter;
}

function checkProgram(name: string, path: string | undefined): void {
  if (path === undefined) return;
  try {
    if (!statSync(path).isFile()) throw new Error("it is not a file");
    accessSync(path, constants.X_OK);
  } catch (error) {
    throw new MigratekitError("usage", `--${name} ${path}: cannot be run: ${fileProblem(error)}`, {
      remedy: "Give the path of a program that may be executed; arguments go into a script.",
      cause: error,
    });
  }
}

/** What both hooks are told; no secret is in it. */
function factsOf(config: Config) {
  return {
    command: config.command,
    version: buildInfo.version,
    pid: process.pid,
    vm_path: config.vmwarePath,
    endpoint: config.vmwareEndpoint && endpointText(config),
    job_id: config.jobId,
    state_dir: config.stateDir,
  };
}

async function runBefore({ config, logger, signal }: HookContext, input: object): Promise<void> {
  const { hookBefore: path, hookTimeout: timeoutMs } = config;
  if (path === undefined) return;
  const failed = (why: string, cause?: unknown) => {
    const message = `--hook-before ${path} ${why}; nothing was begun`;
    return recorded({ config, logger }, new MigratekitError("hook-failed", message, { cause }));
  };
  let result: ProgramResult;
  try {
    result = await runHook(path, input, timeoutMs, signal);
  } catch (error) {
    signal?.throwIfAborted();
    throw failed(`cannot be run: ${fileProblem(error)}`, error);
  }
  logOutput("--hook-before", result, logger);
  const why = failureOf(result, timeoutMs);
  if (why !== undefined) throw failed(`${why}${lastWords(result)}`);
}

async function askWebhook(
  context: HookContext,
  webhook: Webhook | undefined,
  input: object,
): Promise<void> {
  const why = await webhook?.deliver(input, context.signal);
  if (why === undefined) return;
  const message = `${why}; nothing was begun`;
  throw recorded(context, new MigratekitError("webhook-failed", message));
}

/** `error`, once it is in the VM's history. */
function recorded(context: HookContext, error: MigratekitError): MigratekitError {
  recordEarlyFailure(context, error);
  return error;
}

/** Never rejects. */
async function runAfter({ config, logger }: HookContext, input: object): Promise<void> {
  const { hookAfter: path, hookTimeout: timeoutMs } = config;
  if (path === undefined) return;
  try {
    const result = await runHook(path, input, timeoutMs);
    logOutput("--hook-after", result, logger);
    const why = failureOf(result, timeoutMs);
    if (why !== undefined) logger.warn(`--hook-after ${path} ${why}${lastWords(result)}`);
  } catch (error) {
    logger.warn(`--hook-after ${path} cannot be run: ${messageOf(error)}`);
  }
}

async function runHook(
  path: string,
  input: object,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<ProgramResult> {
  return await runProgram(resolve(path), [], {
    env: plainEnvironment(),
    input: redact(`${JSON.stringify(input)}\n`),
    timeoutMs,
    // It may leave something running that keeps its output open.
    closeTimeoutMs: 500,
    outputCharsMax: 64 * 1024,
    ...(signal && { signal }),
  });
}

function failureOf({ exitCode, timedOut }: ProgramResult, timeoutMs: number): string | undefined {
  if (timedOut) return `was not done after ${formatDuration(timeoutMs / 1000)} (--hook-timeout)`;
  if (exitCode === 0) return undefined;
  return exitCode === undefined ? "was ended by a signal" : `ended with exit code ${exitCode}`;
}

function lastWords({ stderr }: ProgramResult): string {
  const last = stderr.trim().split("\n").at(-1) ?? "";
  return last === "" ? "" : `: ${oneLine(redact(last))}`;
}

function logOutput(name: string, { stdout, stderr }: ProgramResult, logger: Logger): void {
  const lines = `${stdout}\n${stderr}`.split("\n").filter((line) => line.trim() !== "");
  for (const line of lines.slice(0, linesMax)) logger.info(`${name}: ${oneLine(line)}`);
}
