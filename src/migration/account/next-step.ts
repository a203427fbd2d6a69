/** What to type after a command has ended: the likeliest first. Pure. */
import type { Config } from "../../config.ts";
import type { NextStep, RunEnding } from "../../ending.ts";
import type { ErrorCode } from "../../errors.ts";
import { type CommandName, type OptionName, type OptionSpec, options } from "../../options.ts";

export interface Ended {
  readonly config: Pick<Config, "command" | "typed">;
  readonly status: "completed" | "failed" | "interrupted";
  /** Of a failure. */
  readonly code?: string;
  readonly run?: RunEnding;
}

/** Mistakes of these kinds are repeated by typing the same again. */
const notAgain: ReadonlySet<string> = new Set<ErrorCode>(["usage", "cut-over", "not-converted"]);

export function nextSteps(ended: Ended): NextStep[] {
  const { config, status, run } = ended;
  if (status === "completed") return afterSuccess(config);
  const steps: NextStep[] = [];
  const journal = run?.disks.some((disk) => disk.journal !== undefined) === true;
  const again = commandLine(config, config.command, { as: journal ? "anew" : "typed" });
  if (ended.code === "verification-mismatch") {
    steps.push({
      why: "to see what differs, and copy just that",
      command: commandLine(config, "verify", { more: ["--repair"] }),
    });
  } else if (ended.code === "verification-impossible") {
    steps.push({ why: "to bring the targets up to date", command: commandLine(config, "migrate") });
  } else if (ended.code === "converted" || ended.code === "deployed") {
    steps.push({ why: "to go back to syncs", command: commandLine(config, "rollback") });
  } else if (!notAgain.has(ended.code ?? "")) {
    const fixed = status === "failed" ? "once that is mended" : "to go on";
    const from = journal ? ", from what is copied" : "";
    steps.push({ why: `${fixed}${from}`, command: again });
  }
  if (run?.snapshot?.state === "left") {
    steps.push({
      why: "to remove the snapshot before that",
      command: commandLine(config, "cleanup"),
    });
  }
  return steps;
}

function afterSuccess(config: Ended["config"]): NextStep[] {
  switch (config.command) {
    case "migrate":
      if (config.typed.has("vms"))
        return [
          { why: "to copy what changes from now on", command: commandLine(config, "migrate") },
        ];
      return [
        { why: "to copy what changes from now on", command: commandLine(config, "migrate") },
        { why: "to move the VM", command: commandLine(config, "cutover") },
      ];
    case "verify":
      return [{ why: "to copy what changes from now on", command: commandLine(config, "migrate") }];
    case "cleanup":
      return config.typed.get("dry-run") === true
        ? [{ why: "to remove it", command: commandLine(config, "cleanup") }]
        : [];
    case "check":
      return [{ why: "to copy", command: commandLine(config, "migrate") }];
    default:
      return [];
  }
}

/** Asked for once: what it brought about is not wanted again by the way. */
const once: readonly OptionName[] = [
  "full",
  "target-is-zero",
  "take-over-target",
  "reopen",
  "yes",
  "repair",
  "dry-run",
];

/**
 * `command` with what was typed, as far as it takes it; a password is left out, and asked for. `anew`:
 * without what was asked for once.
 */
export function commandLine(
  { typed }: Ended["config"],
  command: CommandName,
  { as = "anew", more = [] }: { as?: "anew" | "typed"; more?: readonly string[] } = {},
): string {
  const words = ["migratekit", command];
  for (const [name, value] of typed) {
    const spec: OptionSpec = options[name];
    if (!spec.commands.includes(command)) continue;
    if (as === "anew" && once.includes(name)) continue;
    if (spec.value !== undefined) words.push(`--${name}`, String(value));
    else words.push(value === false ? `--no-${name}` : `--${name}`);
  }
  return [...words, ...more].map(quoted).join(" ");
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
