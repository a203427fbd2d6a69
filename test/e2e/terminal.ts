// Runs the command line at a terminal: util-linux's script(1) gives it one of any size.

import { spawn } from "node:child_process";
import { cliCommand } from "../lab/run-cli.ts";

export interface TerminalRun {
  /** Of script(1); its end hangs up on the command. */
  readonly child: ReturnType<typeof spawn>;
  /** Everything written so far, escape sequences included. */
  output(): string;
  readonly result: Promise<TerminalResult>;
}

export interface TerminalResult {
  code: number | null;
  output: string;
  /** The output in the pieces in which it came. */
  writes: { atMs: number; text: string }[];
}

export function startAtTerminal(options: {
  args: readonly string[];
  columns: number;
  rows?: number;
  env?: Record<string, string>;
}): TerminalRun {
  const command = [...cliCommand, ...options.args].map(quote).join(" ");
  const size = `stty cols ${options.columns} rows ${options.rows ?? 30}`;
  const child = spawn("script", ["-qfec", `${size}; exec ${command}`, "/dev/null"], {
    env: { ...environment(), TERM: "xterm-256color", ...options.env },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const killWithUs = () => child.kill("SIGKILL");
  process.on("exit", killWithUs);
  let output = "";
  const writes: TerminalResult["writes"] = [];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
    writes.push({ atMs: performance.now(), text });
  });
  const result = new Promise<TerminalResult>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      process.off("exit", killWithUs);
      resolve({ code, output, writes });
    });
  });
  return { child, output: () => output, result };
}

/** What a person sees when nothing more is painted: without colours and cursor movements. */
export function withoutEscapes(output: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return output.replace(/\u001b\[[?\d;]*[A-Za-z]/g, "").replaceAll("\r", "");
}

function environment(): Record<string, string | undefined> {
  const foreign = /^(MIGRATEKIT_|NBD_LOCAL_PORT$|CLOUDSTACK_API_URL$|NODE_TEST_CONTEXT$|NO_COLOR$)/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)));
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
