import { type CatalogueEntry, catalogue, exitCodes } from "../errors.ts";
import { exitCodeNotes, exitCodeTable } from "./exit-codes.ts";

/** docs/errors.md: the catalogue of errors.ts as a page. */
export function errorList(): string {
  const entries = Object.entries(catalogue as Record<string, CatalogueEntry>);
  const byCode = exitCodeTable.slice(1).map(({ code, meaning }) => {
    const own = entries.filter(([, entry]) => exitCodes[entry.exit] === code);
    return `## Exit code ${code}: ${meaning}\n\n${own.map(([name, entry]) => section(name, entry)).join("\n")}`;
  });
  return `<!-- Made from src/errors.ts by "npm run docs"; edit there. -->

# Errors

An error is two lines on stderr: the cause with its code, and the remedy.

\`\`\`
error [target-too-small]: nbd://127.0.0.1:10808/vol has 1.0 MiB, less than disk-2000 with 64 MiB
  fix: Make the CloudStack volume at least as large as the disk.
\`\`\`

\`--debug\` adds the rest; \`--json\` has the same as \`error.code\`, \`error.message\` and \`error.remedy\`. A message may
carry a more exact remedy than the one here. The code decides the exit code; both are an interface that scripts may rely on.

| exit code | meaning |
|---|---|
${exitCodeTable.map(({ code, meaning }) => `| ${code} | ${meaning} |`).join("\n")}
| 128+N | ended by signal N |

${exitCodeNotes.join(" ")}

${byCode.join("\n")}`;
}

function section(name: string, { meaning, remedy }: CatalogueEntry): string {
  return `### ${name}\n\n${meaning}\n\n**Remedy:** ${remedy}\n`;
}
