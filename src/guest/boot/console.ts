/** What a serial console tells of a boot. */
import { stripVTControlCharacters } from "node:util";

export interface ConsoleSigns {
  readonly kernel: boolean;
  /** A login prompt, or a line of the service manager that says that the system is up. */
  readonly up: "login" | "service" | undefined;
  /** Where a boot has ended that goes no further by itself. */
  readonly deadEnd: string | undefined;
}

const kernelLine = /Linux version \d+\.\d+|^\[ +\d+\.\d{6}\] /m;
/** The kernel and services may write on behind the prompt. */
const loginLine = /^(?!Last\b)\S+ login: /m;
const serviceLine = /Reached target .*(multi-user|graphical)/im;

/** Each with what it means; the first that is met counts. */
const deadEnds: readonly (readonly [RegExp, string])[] = [
  [/Kernel panic - not syncing: ?([^\n\r]*)/, "the kernel panicked"],
  [/^\(initramfs\)/m, "the initramfs found no root file system and opened its shell"],
  [/^dracut:\/#/m, "dracut found no root file system and opened its shell"],
  [
    /You are in (emergency|rescue) mode|Give root password for maintenance/,
    "the system stopped in its emergency mode",
  ],
  [/^grub rescue> /m, "GRUB did not find its own files"],
  [/^[ \t]*grub> /m, "GRUB found no menu and opened its prompt"],
  [/^Shell> |UEFI Interactive Shell/m, "the firmware found no boot loader and opened its shell"],
  [/BdsDxe: No bootable option|No bootable device/, "the firmware found nothing to boot from"],
];

/** Of the last start alone, where the guest has started again. */
export function readConsole(text: string): ConsoleSigns {
  const last = withoutEscapes(text.slice(Math.max(0, text.lastIndexOf("Linux version "))));
  const end = deadEnds.find(([pattern]) => pattern.test(last));
  const up = loginLine.test(last) ? "login" : serviceLine.test(last) ? "service" : undefined;
  return { kernel: kernelLine.test(withoutEscapes(text)), up, deadEnd: end?.[1] };
}

/** The end of it, for people: whole lines, without what moves a cursor. */
export function lastLines(text: string, count: number): string[] {
  const lines = withoutEscapes(text).split("\n");
  return lines
    .map((line) => line.trimEnd())
    .filter((line) => line !== "")
    .slice(-count);
}

function withoutEscapes(text: string): string {
  return stripVTControlCharacters(text).replaceAll(/(?!\n)\p{Cc}/gu, "");
}

const keptChars = 512 * 1024;

/** Keeps the end of what a guest prints, however much that is. */
export class ConsoleText {
  #text = "";

  push(chunk: string): void {
    this.#text = (this.#text + chunk).slice(-keptChars);
  }

  get text(): string {
    return this.#text;
  }
}
