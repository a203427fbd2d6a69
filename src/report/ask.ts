/** Questions to whoever sits at the terminal. */
import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { MigratekitError } from "../errors.ts";

/** Whether there is somebody to ask. */
export function canAsk(): boolean {
  return process.stdin.isTTY === true && process.stderr.isTTY === true;
}

/**
 * Anything but `yes` is a no.
 * @throws MigratekitError `usage` for a no, and where there is no terminal to ask on; the signal's reason
 */
export async function confirm(question: string, signal: AbortSignal): Promise<void> {
  if (!canAsk()) {
    throw new MigratekitError("usage", "there is no terminal to ask for confirmation on", {
      remedy: "Add --yes to go ahead without being asked.",
    });
  }
  const answer = await ask(`${question} Type yes to go on: `, signal, "shown");
  if (answer?.trim().toLowerCase() === "yes") return;
  throw new MigratekitError("usage", "it was not confirmed; nothing was done", {
    remedy: "Run it again and answer yes.",
  });
}

/**
 * The terminal shows nothing of the answer.
 * @throws MigratekitError `usage` for no answer; the signal's reason
 */
export async function askPassword(question: string, signal: AbortSignal): Promise<string> {
  const answer = await ask(question, signal, "hidden");
  if (answer) return answer;
  throw new MigratekitError("usage", "no password was given", {
    remedy: "Run it again and give it, or a file that holds it with --vmware-password-file.",
  });
}

/** One line; undefined where the terminal gives none any more. */
async function ask(
  question: string,
  signal: AbortSignal,
  answerIs: "shown" | "hidden",
): Promise<string | undefined> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface(
    answerIs === "shown"
      ? // Not as a terminal: Ctrl-C then comes as the signal that everything else listens to.
        { input: process.stdin, output: process.stderr, terminal: false }
      : // As a terminal, to be the one who echoes; Ctrl-C then comes as a key.
        { input: process.stdin, output: nowhere, terminal: true },
  );
  lines.on("SIGINT", () => process.kill(process.pid, "SIGINT"));
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  lines.once("line", resolve);
  lines.once("close", () => resolve(undefined));
  const stop = () => lines.close();
  signal.addEventListener("abort", stop);
  try {
    process.stderr.write(question);
    const answer = await promise;
    // What comes next begins a line of its own.
    if (answer === undefined || answerIs === "hidden") process.stderr.write("\n");
    signal.throwIfAborted();
    return answer;
  } finally {
    signal.removeEventListener("abort", stop);
    lines.close();
  }
}
