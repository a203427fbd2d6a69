/** A report as text, for a ticket that takes no files. */
import { shown, table } from "../table.ts";
import type { Page, Section } from "./page.ts";

const width = 78;

export function plainText({ title, verdict, sections }: Page): string {
  const head = `${shown(title)}\n${"=".repeat([...title].length)}\n\n${filled(verdict)}`;
  return `${[head, ...sections.map(sectionText)].join("\n")}`;
}

function sectionText({ title, facts = [], table: rows, steps = [], note }: Section): string {
  const label = Math.max(0, ...facts.map(([name]) => name.length));
  const parts = [
    facts.map(([name, value]) => `${name.padEnd(label)}  ${shown(value)}\n`).join(""),
    rows === undefined ? "" : table(rows.headings, rows.rows),
    steps
      .map(({ text, command }, at) => {
        const line = filled(`${at + 1}. ${text}`, "   ");
        return command === undefined ? line : `${line}\n     ${shown(command)}\n\n`;
      })
      .join(""),
    note === undefined ? "" : filled(note),
  ];
  const body = parts.filter((part) => part !== "").join("\n");
  return `${title}\n${"-".repeat(title.length)}\n${body}`;
}

function filled(text: string, indent = ""): string {
  const lines =
    shown(text).match(new RegExp(`.{1,${width - indent.length}}(?= |$)|\\S+`, "g")) ?? [];
  return `${lines.map((line, at) => (at === 0 ? "" : indent) + line.trim()).join("\n")}\n`;
}
