/**
 * What the program does for its secrets before anything else: imported first, and for this effect.
 * Until here the process list shows a secret given by flag; nothing in the process can change that.
 */
import { writeFileSync } from "node:fs";

const secretFlags = [
  "--vmware-password",
  "--cloudstack-secret-key",
  "--cloudstack-api-key",
  "--webhook",
];

/** The arguments as anybody may see them. */
export function withoutSecrets(args: readonly string[]): string[] {
  return args.map((argument, at) => {
    if (secretFlags.includes(args[at - 1] ?? "")) return "***";
    const flag = secretFlags.find((name) => argument.startsWith(`${name}=`));
    return flag === undefined ? argument : `${flag}=***`;
  });
}

/** Node writes its title over the arguments in memory, which is what `ps` and /proc read. */
function hideArguments(): void {
  const args = process.argv.slice(2);
  const shown = withoutSecrets(args);
  if (shown.some((argument, at) => argument !== args[at])) {
    process.title = ["migratekit", ...shown].join(" ");
  }
}

/**
 * No memory goes into a core file, neither ours nor that of children, which inherit this: core(5),
 * "Controlling which mappings are written". It holds for cores that are piped to a collector and
 * for gcore too, where a limit on the size does not. Best effort: a machine without /proc cannot.
 */
function keepMemoryOutOfCores(): void {
  try {
    writeFileSync("/proc/self/coredump_filter", "0");
  } catch {}
}

/** Reports of a crash, where NODE_OPTIONS asks for them, hold the arguments and the environment. */
function switchOffReports(): void {
  if (!process.report) return;
  process.report.reportOnFatalError = false;
  process.report.reportOnSignal = false;
  process.report.reportOnUncaughtException = false;
}

hideArguments();
keepMemoryOutOfCores();
switchOffReports();
// Whatever is made from here on, by us or by children, is for this user alone.
process.umask(0o077);
