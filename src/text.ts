/** Texts as people read them: of other programs, addresses, amounts. */

/** Text of another program as one line that is safe in a message: no control characters, bounded. */
export function oneLine(text: string, lengthMax = 300): string {
  const line = text.replace(/[\p{Cc}\p{Zl}\p{Zp}\s]+/gu, " ").trim();
  return line.length > lengthMax ? `${line.slice(0, lengthMax)}…` : line;
}
