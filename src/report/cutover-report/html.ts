/** A report as one page that needs nothing from elsewhere, on a phone, on a desk and on paper. */
import { htmlFrame, htmlText as text } from "../page/page.ts";
import type { Page, Section, Step } from "./page.ts";

export function htmlPage({ title, done, verdict, sections }: Page): string {
  return htmlFrame(
    title,
    `<header>
<p class="state ${done ? "done" : "not-done"}">${done ? "Completed" : "Not completed"}</p>
<h1>${text(title)}</h1>
<p class="verdict">${text(verdict)}</p>
</header>
${sections.map(sectionHtml).join("\n")}`,
  );
}

function sectionHtml({ title, facts, table, steps, note }: Section): string {
  return [
    `<section>\n<h2>${text(title)}</h2>`,
    facts === undefined ? "" : factsHtml(facts),
    table === undefined ? "" : tableHtml(table),
    steps === undefined ? "" : `<ol>\n${steps.map(stepHtml).join("\n")}\n</ol>`,
    note === undefined ? "" : `<p class="note">${text(note)}</p>`,
    "</section>",
  ]
    .filter((part) => part !== "")
    .join("\n");
}

function factsHtml(facts: readonly (readonly [string, string])[]): string {
  const rows = facts.map(
    ([name, value]) => `<div><dt>${text(name)}</dt><dd>${text(value)}</dd></div>`,
  );
  return `<dl>\n${rows.join("\n")}\n</dl>`;
}

/** Each cell knows its heading, for where the rows stand below one another. */
function tableHtml({ headings, rows }: NonNullable<Section["table"]>): string {
  const head = headings.map((heading) => `<th scope="col">${text(heading)}</th>`).join("");
  const body = rows.map((row) => {
    const cells = row.map((cell, at) => {
      const kind = /^sha256:/.test(cell)
        ? ' class="digest"'
        : /^[\d.:]+( \w+)?$/.test(cell)
          ? ' class="amount"'
          : "";
      return `<td data-heading="${text(headings[at] ?? "")}"${kind}>${text(cell)}</td>`;
    });
    return `<tr>${cells.join("")}</tr>`;
  });
  return `<table>\n<thead><tr>${head}</tr></thead>\n<tbody>\n${body.join("\n")}\n</tbody>\n</table>`;
}

function stepHtml({ text: said, command }: Step): string {
  return `<li>${text(said)}${command === undefined ? "" : `<pre>${text(command)}</pre>`}</li>`;
}
