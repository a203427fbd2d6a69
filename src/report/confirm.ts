import { createInterface } from "node:readline";
import { MigratekitError } from "../errors.ts";

/**
 * Asks on the terminal; anything but `yes` is a no.
 * @throws MigratekitError `usage` for a no, and where there is no terminal to ask on; the signal's reason
 */
export async function confirm(question: string, signal: AbortSignal): Promise<void> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new MigratekitError("usage", "there is no terminal to ask for confirmation on", {
      remedy: "Add --yes to go ahead without being asked.",
    });
  }
  // Not as a terminal: Ctrl-C then comes as the signal that everything else listens to.
  const lines = createInterface({
    input: process.stdin,
    output: process.stderr,
    terminal: false,
  });
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  lines.once("line", resolve);
  lines.once("close", () => resolve(undefined));
  const stop = () => lines.close();
  signal.addEventListener("abort", stop);
  try {
    process.stderr.write(`${question} Type yes to go on: `);
    const answer = await promise;
    if (answer === undefined) process.stderr.write("\n"); // the error begins a line of its own
    signal.throwIfAborted();
    if (answer?.trim().toLowerCase() !== "yes") {
      throw new MigratekitError("usage", "it was not confirmed; nothing was done", {
        remedy: "Run it again and answer yes.",
      });
    }
  } finally {
    signal.removeEventListener("abort", stop);
    lines.close();
  }
}
