import assert from "node:assert/strict";
import { test } from "node:test";
import { logText } from "../lab/demo-report.ts";
import { startCli } from "../lab/run-cli.ts";

test("what the program logs into a pipe is sentences in the demonstration, not JSON", async () => {
  const lines: string[] = [];
  const args = ["migrate", "--vmware-password", "a password"];
  await startCli({ args, onStderrLine: (line) => lines.push(line) }).result;
  assert.match(lines[0] ?? "", /^\{"level":40,/, "a warning comes as JSON");
  const [warning, ...rest] = lines.map(logText);
  assert.match(warning!, /^warning: --vmware-password shows the password/);
  assert.ok(rest.some((line) => line === "Discover"));
  assert.ok(rest.some((line) => line.startsWith("error [usage]: migrate needs")));
  assert.ok(!rest.some((line) => line.includes("{")), rest.join("\n"));
});
