/** Text for groff and mandoc, in the man(7) macros. */

export function term(name: string, text: string): string[] {
  return [".TP", `\\fB${roff(name)}\\fR`, prose(text)];
}

export function example(text: string): string[] {
  return [".sp", ".in +4n", ".nf", ...text.split("\n").map(roff), ".fi", ".in"];
}

/** Filled text, in input lines of a length that mandoc does not grumble about. */
export function prose(text: string): string {
  return roff(text.replace(/(.{1,68})(?: |$)/g, "$1\n").trimEnd());
}

/** Text that groff prints as it stands: dashes stay dashes, and no line becomes a request. */
export function roff(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll("…", "\\[u2026]")
    .replace(/^(['.])/gm, "\\&$1")
    .replaceAll("~", "\\(ti")
    .replaceAll("'", "\\(aq");
}
