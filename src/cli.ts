/**
 * The program: arguments in, exit code out. The only file that ends the process, and the only one
 * that listens to signals.
 */
import "./process-guard.ts"; // before anything that takes time to load
import { CommanderError } from "commander";
import { becomeOwnerOf } from "./become-owner.ts";
import { commandOf, firstWords, isGroup } from "./command-tree.ts";
import type { Config, GivenFlags } from "./config.ts";
import { exitCodes, MigratekitError } from "./errors.ts";
import { exitCodeOf, Interruption } from "./interruption.ts";
import type { CommandName } from "./options.ts";
import { buildProgram, glimpse, helpTopics, type Invocation, mistakeOf } from "./program.ts";
import type { CommandModule } from "./report/context.ts";
import { Voice } from "./report/voice.ts";

/** Loaded on demand, as all that takes time to load: `--help` and `--version` answer at once. */
const commands: Record<CommandName, () => Promise<CommandModule>> = {
  migrate: () => import("./commands/migrate.ts"),
  check: () => import("./commands/check.ts"),
  inventory: () => import("./commands/inventory.ts"),
  verify: () => import("./commands/verify.ts"),
  cutover: () => import("./commands/cutover.ts"),
  rehearse: () => import("./commands/rehearse.ts"),
  convert: () => import("./commands/convert.ts"),
  rollback: () => import("./commands/rollback.ts"),
  export: () => import("./commands/export.ts"),
  cleanup: () => import("./commands/cleanup.ts"),
  list: () => import("./commands/list.ts"),
  status: () => import("./commands/status.ts"),
  history: () => import("./commands/history.ts"),
  config: () => import("./commands/config.ts"),
  completion: () => import("./commands/completion.ts"),
  "fleet init": () => import("./commands/fleet/init.ts"),
  "fleet plan": () => import("./commands/fleet/plan.ts"),
  "fleet apply": () => import("./commands/fleet/apply.ts"),
  "fleet work": () => import("./commands/fleet/work.ts"),
  "fleet status": () => import("./commands/fleet/status.ts"),
  "fleet pause": () => import("./commands/fleet/pause.ts"),
  "fleet resume": () => import("./commands/fleet/resume.ts"),
  "fleet retry": () => import("./commands/fleet/retry.ts"),
  "fleet cutover": () => import("./commands/fleet/cutover.ts"),
  "fleet report": () => import("./commands/fleet/report.ts"),
  "fleet check-target": () => import("./commands/fleet/check-target.ts"),
};

const exitGraceMs = 1000;

const voice = new Voice();

async function main(argv: readonly string[]): Promise<number> {
  if (argv[0] === "--version" || argv[0] === "-V") {
    const { versionText } = await import("./version.ts");
    process.stdout.write(versionText());
    return exitCodes.success;
  }
  let invocation: Invocation | number | undefined;
  try {
    if (argv[0] === "help" && (await printTopic(argv.slice(1)))) return exitCodes.success;
    invocation = parseArguments(argv);
    if (typeof invocation === "number") return invocation;
    // What has come to its end when a signal arrives was not interrupted by it.
    return await runCommand(invocation, listenToSignals());
  } catch (error) {
    const found = typeof invocation === "object" ? invocation : undefined;
    const flags = found?.flags ?? glimpse(argv);
    const told = await printDocument(error, flags);
    if (!found) await speakAsAsked(flags);
    const debug = flags.get("debug") === true;
    await voice.ended(error, found?.command, { debug, told });
    if (error instanceof Interruption) dieBySignal(error);
    return exitCodeOf(error);
  }
}

/**
 * Whether `help` was asked for a topic; a command's help is commander's.
 * @throws MigratekitError `usage` for what is neither
 */
async function printTopic([name, ...more]: readonly string[]): Promise<boolean> {
  if (name === undefined || name.startsWith("-") || more.length > 0) return false;
  if (["help", ...firstWords].includes(name)) return false;
  const { topicText } = await import("./manual/topics.ts");
  const text = topicText(name);
  if (text === undefined) {
    throw new MigratekitError("usage", `there is no help on "${name}"`, {
      remedy: `Give a command, an error's code, or one of ${Object.keys(helpTopics).join(", ")}.`,
    });
  }
  process.stdout.write(text);
  return true;
}

/**
 * With `--json` every failure is a document, whether or not the command had come to print one. Gives
 * whether it had told how it ended.
 */
async function printDocument(error: unknown, flags: GivenFlags): Promise<boolean> {
  const { printFailure, wasTold } = await import("./report/json/json.ts");
  if (wasTold(error)) return true;
  const { wantsJson } = await import("./config.ts");
  if (wantsJson(flags)) printFailure(error);
  return false;
}

async function speakAsAsked(flags: GivenFlags): Promise<void> {
  if (flags.get("log-format") !== "json") return;
  const { createLogger } = await import("./logger.ts");
  voice.speakAs(createLogger({ level: "info", pretty: false }));
}

/** @throws MigratekitError `usage` for what commander does not take */
function parseArguments(argv: readonly string[]): Invocation | number {
  let invocation: Invocation | undefined;
  const program = buildProgram((found) => {
    invocation = found;
  });
  if (argv.length === 0) {
    program.outputHelp({ error: true });
    return exitCodes.usage;
  }
  try {
    program.parse(argumentsToParse(argv), { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // The help was written.
    if (error.exitCode === 0) return exitCodes.success;
    if (error.code.startsWith("commander.help")) return exitCodes.usage;
    throw mistakeOf(error);
  }
  return invocation ?? exitCodes.usage;
}

/** As commander is to see them, which knows no `help GROUP COMMAND`. */
function argumentsToParse(argv: readonly string[]): readonly string[] {
  const [first = "", second = "", ...more] = argv;
  if (first === "help" && isGroup(second) && more.length > 0) {
    return argumentsToParse([second, ...more, "--help"]);
  }
  if (first === "help") return argv;
  // An unknown command's --help would print the general one, or the group's, as if all were well.
  if (!firstWords.includes(first)) return first.startsWith("-") ? argv : [first];
  const isCommand = commandOf(argv) !== undefined || ["", "help"].includes(second);
  return isCommand || second.startsWith("-") ? argv : [first, second];
}

async function runCommand(invocation: Invocation, signal: AbortSignal): Promise<number> {
  const { createLogger } = await import("./logger.ts");
  await speakAsAsked(invocation.flags);
  const { resolveConfig, systemStateDir } = await import("./config.ts");
  const given = resolveConfig(invocation.command, invocation.flags);
  const config = await withAskedPassword(given, signal);
  const { LogView } = await import("./report/log-view.ts");
  const command = await commands[invocation.command]();
  using view = new LogView(config);
  voice.speakThrough(view);
  const logger = createLogger({
    level: levelOf(config),
    pretty: config.logFormat === "auto" ? view.isTerminal : config.logFormat === "pretty",
    colour: view.colour,
    destination: view,
  });
  if (config.logFormat === "json") voice.speakAs(logger);
  for (const warning of config.warnings) logger.warn(warning);
  // Root's devices are not that account's.
  const stays = config.command === "export" || config.stateDir !== systemStateDir;
  const account = stays ? undefined : becomeOwnerOf(systemStateDir);
  if (account) logger.info(`going on as ${account}, the owner of ${systemStateDir}`);
  const { operands, flags } = invocation;
  return await command.run({ config, logger, view, signal, operands, flags });
}

/** @throws MigratekitError `usage` for both more and less than usual */
function levelOf({ quiet, verbose, debug }: Config): "warn" | "debug" | "info" {
  if (quiet && (verbose || debug)) {
    throw new MigratekitError(
      "usage",
      `--quiet and --${debug ? "debug" : "verbose"} exclude each other`,
    );
  }
  if (quiet) return "warn";
  return verbose || debug ? "debug" : "info";
}

/** At a terminal a password that is missing is asked for. */
async function withAskedPassword(config: Config, signal: AbortSignal): Promise<Config> {
  const { endpointText, lacksPasswordAlone, withPassword } = await import("./config.ts");
  const { askPassword, canAsk } = await import("./report/ask.ts");
  if (!lacksPasswordAlone(config) || !canAsk()) return config;
  const whose = `${config.vmwareUsername} at ${endpointText(config)}`;
  return withPassword(config, await askPassword(`Password of ${whose}: `, signal));
}

/**
 * The first signal asks for a polite end: drain, journal, remove the snapshot, last update. The
 * second ends the process at once, by that signal. SIGHUP never does: a terminal that closes sends
 * it more than once, and nobody is there any more who could have meant it.
 */
function listenToSignals(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(name, () => {
      if (!controller.signal.aborted) {
        voice.stopping(name);
        controller.abort(new Interruption(name));
      } else if (name !== "SIGHUP") {
        dieBySignal(new Interruption(name));
      }
    });
  }
  return controller.signal;
}

/** Ends the process by the signal itself, so that its parent sees 128+N and knows why. */
function dieBySignal({ signal, exitCode }: Interruption): never {
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
  // Still here as process 1 of a container, which no signal without a handler reaches.
  process.exit(exitCode);
}

function endByBug(error: unknown): void {
  printDocument(error, glimpse(process.argv.slice(2)))
    .then(() => voice.bug(error))
    .finally(() => process.exit(exitCodes.bug));
}

// A reader that went away (`| head`) is no error of ours.
process.stdout.on("error", () => {});
process.stderr.on("error", () => {});

// What nobody caught would be printed by Node as it is, with all that hangs on the error.
process.on("uncaughtException", endByBug);

main(process.argv.slice(2)).then((code) => {
  process.exitCode = code;
  // Whatever still holds the event loop (a peer that does not close) must not hold the exit.
  setTimeout(() => process.exit(code), exitGraceMs).unref();
}, endByBug);
