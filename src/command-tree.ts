/** Names of commands as words: a name of two words is a command of a group, such as `fleet plan`. */
import { type CommandName, commandNames } from "./options.ts";

/** First words of such names. */
export type GroupName = CommandName extends infer Name
  ? Name extends `${infer Group} ${string}`
    ? Group
    : never
  : never;

/** What may stand behind `migratekit`, in the order of the table: commands and groups. */
export const firstWords: readonly string[] = [
  ...new Set(commandNames.map((name) => name.split(" ")[0]!)),
];

export function isGroup(word: string): word is GroupName {
  return commandNames.some((name) => name.startsWith(`${word} `));
}

/** The commands of a group, by their whole names. */
export function membersOf(group: GroupName): CommandName[] {
  return commandNames.filter((name) => name.startsWith(`${group} `));
}

/** What is typed behind the group's name. */
export function lastWordOf(name: CommandName): string {
  return name.slice(name.lastIndexOf(" ") + 1);
}

/** `fleet-plan`: of manual pages and schemas. */
export function slugOf(name: CommandName): string {
  return name.replaceAll(" ", "-");
}

/** The command that arguments begin with; undefined: none that there is. */
export function commandOf(args: readonly string[]): CommandName | undefined {
  return commandNames.find((name) => name.split(" ").every((word, at) => args[at] === word));
}
