/**
 * Known vulnerabilities of what package-lock.json names: `npm audit`, with an honest answer where the
 * registry offers no audits. Exit code 0: none known; 1: some, or npm failed otherwise; 3: not asked,
 * because this registry (a mirror, or none) does not answer such questions.
 */
import { spawnSync } from "node:child_process";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const notAsked = 3;

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const result = spawnSync(
  "npm",
  ["audit", "--json", "--audit-level=low", ...process.argv.slice(2)],
  {
    cwd: root,
    encoding: "utf8",
  },
);

process.exitCode = judge(result);

function judge({ status, stdout, error }) {
  if (error) return say(1, `npm could not be run: ${error.message}`);
  const answer = parse(stdout);
  const total = answer?.metadata?.vulnerabilities?.total;
  if (status === 0 && total === 0) return say(0, "no known vulnerabilities");
  if (total > 0) {
    const names = Object.values(answer.vulnerabilities ?? {}).map(
      ({ name, severity }) => `${name} (${severity})`,
    );
    return say(1, `${total} known vulnerabilities: ${names.join(", ")}`);
  }
  const reason = answer?.message ?? answer?.error?.summary ?? `npm audit ended with ${status}`;
  if (/audit endpoint|E(CONNREFUSED|NOTFOUND|AI_AGAIN|TIMEDOUT)|\b40[345]\b|\b501\b/.test(reason)) {
    return say(notAsked, `NOT CHECKED: this registry answers no audits (${reason})`);
  }
  return say(1, `npm audit failed: ${reason}`);
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function say(code, text) {
  console.error(`audit: ${text.replaceAll(/https?:\/\/[^\s)]+/g, "the registry")}`);
  return code;
}
