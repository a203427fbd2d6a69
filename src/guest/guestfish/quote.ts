/** One line for guestfish: the command's name, and arguments that hold any bytes but NUL. */
export function commandLine(command: string, args: readonly string[]): string {
  return [command, ...args.map(quoted)].join(" ");
}

/** Everything but letters, digits and a few harmless signs is written as a number (guestfish(1), "ESCAPE SEQUENCES"). */
function quoted(argument: string): string {
  let text = "";
  for (const byte of Buffer.from(argument)) {
    if (byte === 0) throw new RangeError("a NUL is in no argument");
    const plain = /[\w/.,:=@+-]/.test(String.fromCharCode(byte)) && byte < 128;
    text += plain ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`;
  }
  return `"${text}"`;
}
