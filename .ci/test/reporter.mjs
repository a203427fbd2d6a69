/**
 * One line for each file that passed, everything about one that did not, and Node's closing lines
 * (`# tests 12`), which continuous integration reads. With CI=true a skipped test is a failure.
 */
import { relative, resolve } from "node:path";
import { inspect, stripVTControlCharacters } from "node:util";

const counted = ["tests", "suites", "pass", "fail", "cancelled", "skipped", "todo"];

export default async function* report(events) {
  const files = new Map();
  const failed = [];
  const stateOf = (file) => {
    const name = relative(process.cwd(), file);
    if (!files.has(name)) files.set(name, { name, output: [], failures: [], leftOut: [] });
    return files.get(name);
  };
  for await (const { type, data } of events) {
    if (type === "test:stdout" || type === "test:stderr") {
      stateOf(data.file).output.push(data.message);
    } else if (type === "test:pass" && (data.skip !== undefined || data.todo !== undefined)) {
      stateOf(data.file).leftOut.push(data);
    } else if (type === "test:fail" && data.details.error?.failureType !== "subtestsFailed") {
      const state = stateOf(data.file ?? data.name);
      state.failures.push(data);
      failed.push(`${state.name}: ${data.name}`);
      // A file that ended otherwise than by finishing its tests has no summary.
      if (isFile(data)) {
        yield fileText(state, data.details);
        state.isTold = true;
      }
    } else if (type === "test:pass" && isFile(data)) {
      // Node counts a file without tests as one that passed.
      const state = stateOf(data.file);
      state.failures.push({ name: "no test in it", details: {} });
      failed.push(`${state.name}: no test in it`);
      process.exitCode = 1;
      yield fileText(state, data.details);
    } else if (type === "test:summary" && data.file) {
      yield fileText(stateOf(data.file), data);
      stateOf(data.file).isTold = true;
    } else if (type === "test:summary") {
      // A subtest that stands in a helper fails there, and a helper has no summary of its own.
      for (const state of files.values()) {
        if (state.failures.length > 0 && !state.isTold) yield helperText(state);
      }
      yield closingText(data, failed);
      judgeLeftOut(data.counts);
    }
  }
}

/** Node reports on a file itself, by its name, when no test in it has anything to say. */
function isFile({ name, file }) {
  return file !== undefined && resolve(name) === resolve(file);
}

function fileText({ name, output, failures, leftOut }, { counts, duration_ms: durationMs }) {
  const size = counts ? `${counts.tests} tests, ` : "";
  const lines = [
    `${failures.length > 0 ? "✖" : "✔"} ${name} (${size}${(durationMs / 1000).toFixed(1)} s)`,
  ];
  for (const { name: title, skip, todo } of leftOut) {
    lines.push(`  left out: ${title} (${skip === undefined ? "todo" : "skip"} ${skip ?? todo})`);
  }
  for (const failure of failures) lines.push(indent(failureText(failure)));
  if (failures.length > 0) lines.push(indent(stripVTControlCharacters(output.join(""))));
  return `${lines.join("\n")}\n`;
}

function helperText({ name, failures }) {
  return [`✖ in ${name}`, ...failures.map((failure) => indent(failureText(failure))), ""].join(
    "\n",
  );
}

function failureText({ name, line, details }) {
  const error = details.error?.cause ?? details.error ?? "";
  const reason = typeof error === "string" ? error : inspect(error, { depth: 6 });
  return `✖ ${name}${line ? ` (line ${line})` : ""}\n${indent(reason)}`;
}

function closingText({ counts, duration_ms: durationMs }, failed) {
  const values = { ...counts, pass: counts.passed, fail: counts.failed };
  return [
    "",
    ...failed.map((title) => `✖ ${title}`),
    ...counted.map((name) => `# ${name} ${values[name]}`),
    `# duration_ms ${durationMs}`,
    "",
  ].join("\n");
}

function judgeLeftOut({ tests, skipped, todo }) {
  const leftOut = process.env.CI === "true" ? skipped + todo : 0;
  if (tests === 0 || leftOut > 0) process.exitCode = 1;
}

function indent(text) {
  return text.trimEnd().replace(/^(?=.)/gm, "    ");
}
