import { type ShownSetting, shownSettings } from "../config.ts";
import { exitCodes, MigratekitError } from "../errors.ts";
import { groups } from "../options.ts";
import type { CommandContext } from "../report/context.ts";
import { printJson } from "../report/json/json.ts";
import { shown } from "../report/table.ts";

/** `migratekit config show`: every setting as it holds here, and where it comes from. */
export async function run({ config, flags, operands }: CommandContext): Promise<number> {
  const [action = ""] = operands;
  if (action !== "show") {
    throw new MigratekitError("usage", `config knows no action "${action}"`, {
      remedy: "Give show: migratekit config show.",
    });
  }
  const settings = shownSettings(flags);
  const { warnings } = config;
  if (config.json) printJson({ settings, warnings });
  else process.stdout.write(settingsText(settings));
  return exitCodes.success;
}

/** Under the headings of the help; nothing is cut, so that paths can be copied. */
function settingsText(settings: readonly ShownSetting[]): string {
  const nameWidth = Math.max(...settings.map(({ name }) => name.length));
  const valueWidth = Math.min(24, Math.max(...settings.map(({ value = "-" }) => value.length)));
  const line = ({ name, value = "-", from, place }: ShownSetting) => {
    const origin = place ?? (from === "unset" ? "not set" : from);
    return `  ${name.padEnd(nameWidth)}  ${shown(value).padEnd(valueWidth)}  ${shown(origin)}\n`;
  };
  return Object.entries(groups)
    .map(([group, title]) => ({ title, own: settings.filter((set) => set.group === group) }))
    .filter(({ own }) => own.length > 0)
    .map(({ title, own }) => `${title}:\n${own.map(line).join("")}`)
    .join("");
}
