/** Running a short program to its end, with limits on time and output. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Readable } from "node:stream";
import { stopProcess } from "./stop-process.ts";

export interface RunOptions {
  /** The whole environment of the program. */
  readonly env: Readonly<Record<string, string>>;
  /** Given on stdin; absent: none. */
  readonly input?: string;
  readonly timeoutMs?: number;
  /** How long after its end its output is waited for, should another process hold that open [all the time]. */
  readonly closeTimeoutMs?: number;
  readonly signal?: AbortSignal;
  /** [256 Ki]; what is past it is dropped. */
  readonly outputCharsMax?: number;
}

export interface ProgramResult {
  /** Absent when a signal ended it. */
  readonly exitCode: number | undefined;
  readonly timedOut: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a program without a shell. It is stopped when it takes too long.
 * @throws the system's own error (ENOENT, EACCES …) when it cannot be started, or the signal's reason.
 */
export async function runProgram(
  program: string,
  args: readonly string[],
  options: RunOptions,
): Promise<ProgramResult> {
  const { timeoutMs = 15_000, signal, outputCharsMax = 256 * 1024 } = options;
  signal?.throwIfAborted();
  const child = spawn(program, args, {
    detached: true,
    env: options.env,
    stdio: ["pipe", "pipe", "pipe"],
  });
  // It need not read what it is given.
  child.stdin.on("error", () => {});
  child.stdin.end(options.input);
  const stdout = collect(child.stdout, outputCharsMax);
  const stderr = collect(child.stderr, outputCharsMax);
  let timedOut = false;
  const stop = () => void stopProcess(child, { termTimeoutMs: 500 }).then(dropPipes);
  // A grandchild may hold the pipes open: `close` would never come.
  const dropPipes = () => [child.stdout, child.stderr].map((stream) => stream.destroy());
  const { closeTimeoutMs } = options;
  if (closeTimeoutMs !== undefined) {
    child.once("exit", () => setTimeout(dropPipes, closeTimeoutMs).unref());
  }
  const timer = setTimeout(() => {
    timedOut = true;
    stop();
  }, timeoutMs);
  signal?.addEventListener("abort", stop, { once: true });
  try {
    await once(child, "close");
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
  signal?.throwIfAborted();
  return { exitCode: child.exitCode ?? undefined, timedOut, stdout: stdout(), stderr: stderr() };
}

function collect(stream: Readable, outputCharsMax: number): () => string {
  let text = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    if (text.length < outputCharsMax) text += chunk.slice(0, outputCharsMax - text.length);
  });
  return () => text;
}
