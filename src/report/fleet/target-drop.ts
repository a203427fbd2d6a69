/** What `fleet check-target` found, as text and as the document of `--json`. */
import { dropSettings } from "../../fleet/target-drop/settings.ts";
import { howLong, type TargetDrop } from "../../fleet/target-drop/target-drop.ts";

/** `exitCode`: that of the process. */
export function targetDropDocument(drop: TargetDrop, exitCode: number) {
  const { target, limitMs, idle, answering, statedMs } = drop;
  const silence = ({ dropped, lastedMs }: TargetDrop["idle"]) => ({
    dropped,
    lasted_ms: Math.round(lastedMs),
  });
  return {
    status: statedMs === undefined ? "kept" : "dropped",
    exit_code: exitCode,
    target,
    limit_ms: limitMs,
    idle: silence(idle),
    answering: silence(answering),
    ...(statedMs !== undefined && { target_drop_ms: statedMs, plan: planLine(statedMs) }),
    settings: dropSettings,
  };
}

export function targetDropText(drop: TargetDrop): string {
  const { target, idle, answering, statedMs } = drop;
  const found = [
    `${target} keeps a connection whose client fell silent`,
    `  idle                      ${howLong(idle)}`,
    `  with an answer under way  ${howLong(answering)}`,
    "",
  ];
  const stated =
    statedMs === undefined
      ? [
          "No target-drop-time can be stated: another worker's takeover waits for 'migratekit fleet",
          "resume --takeover'. On the target's machine this makes it short:",
        ]
      : [
          "For the plan, below fleet: (an eighth more than the first, twice the second; the larger",
          "one of all its target servers):",
          "",
          `  ${planLine(statedMs)}`,
          "",
          "On the target's machine this makes it shorter:",
        ];
  const settings = dropSettings.map(({ of, text }) => `  ${`${of}:`.padEnd(12)}${text}`);
  return `${[...found, ...stated, "", ...settings].join("\n")}\n`;
}

function planLine(statedMs: number): string {
  return `target-drop-time: ${statedMs / 1000}s`;
}
