/** A table in Markdown under a heading. */
export function section(title: string, columns: string[], rows: string[][]): string {
  const line = (fields: string[]) => `| ${fields.join(" | ")} |`;
  const rule = columns.map((_, i) => (i === 0 ? "---" : "---:"));
  return `## ${title}\n\n${[line(columns), line(rule), ...rows.map(line)].join("\n")}\n`;
}
