/** The bench's programs in C, compiled for this run, and what a command costs. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { promisify } from "node:util";
import type { Sample } from "./results.ts";

const run = promisify(execFile);
const sources = join(import.meta.dirname, "tools");

/** What is left to others while all free memory is taken for a moment. */
const combSpareBytes = 600 * 1024 * 1024;

export interface Tools {
  runTimed: string;
  serial: string;
  push: string;
  relay: string;
  comb: string;
  field: string;
  delayLine: string;
}

export async function buildTools(folder: string): Promise<Tools> {
  const compile = async (name: string, files: string[]): Promise<string> => {
    const output = join(folder, name);
    const paths = files.map((file) => join(sources, file));
    await run("cc", ["-O2", "-o", output, ...paths, "-lnbd", "-lpthread"]);
    return output;
  };
  const build = (name: string) => compile(name, [`${name}.c`]);
  const [runTimed, serial, push, relay, comb, delayLine, field] = await Promise.all([
    ...["run-timed", "serial", "push", "relay", "comb", "delay-line"].map(build),
    compile(
      "field-server",
      ["main", "serve", "model", "ledger"].map((name) => `field/${name}.c`),
    ),
  ]);
  const old = { runTimed: runTimed!, serial: serial!, push: push!, relay: relay!, comb: comb! };
  return { ...old, delayLine: delayLine!, field: field! };
}

/** Runs a command from fork to exit. @throws Error with its output when it fails */
export async function runTimed(tools: Tools, command: string[]): Promise<Sample> {
  const child = spawn(tools.runTimed, command, { stdio: ["ignore", "ignore", "pipe", "pipe"] });
  const errors = collect(child.stderr!);
  const report = collect(child.stdio[3] as Readable);
  await once(child, "close");
  const text = report();
  if (text === "") throw new Error(`${command.join(" ")}: could not be run: ${errors()}`);
  const used = JSON.parse(text) as {
    exitCode: number;
    wallMs: number;
    userMs: number;
    systemMs: number;
    peakBytes: number;
  };
  if (used.exitCode !== 0)
    throw new Error(`${command.join(" ")} ended with ${used.exitCode}: ${errors()}`);
  return { wallMs: used.wallMs, cpuMs: used.userMs + used.systemMs, peakBytes: used.peakBytes };
}

/** Keeps free memory from going back to the machine's host, see comb.c, until it is disposed of. */
export async function keepMemory(tools: Tools): Promise<AsyncDisposable> {
  const child = spawn(tools.comb, [String(combSpareBytes)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await Promise.race([once(child.stdout!, "data"), once(child, "close")]);
  return {
    [Symbol.asyncDispose]: async () => {
      if (child.kill("SIGKILL")) await once(child, "close");
    },
  };
}

/** Runs a command whose cost does not matter; its standard output. */
export async function runPlain(command: string, args: string[]): Promise<string> {
  const { stdout } = await run(command, args, { maxBuffer: 64 * 1024 * 1024 });
  return stdout;
}

function collect(stream: Readable): () => string {
  let text = "";
  stream.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  return () => text.trim();
}
