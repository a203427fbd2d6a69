// docs/cloudstack.md lists the commands of the API that are used, and its settings files are such.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import { usedCommands } from "../../src/cloudstack/commands.ts";
import { type OptionSpec, options } from "../../src/options.ts";

const page = readFileSync(join(import.meta.dirname, "../../docs/cloudstack.md"), "utf8");

test("the role's commands stand in the table under their use, all of them and no others", () => {
  const uses = ["always", "volumes", "deploy", "optional"];
  const rows = ["all", "volumes", "a cutover", "more findings, where they are allowed"];
  for (const [at, row] of rows.entries()) {
    const [, cells = ""] = new RegExp(`^\\| ${row} \\| (.*) \\|$`, "m").exec(page) ?? [];
    const named = [...cells.matchAll(/`(\w+)`/g)].map(([, name]) => name!);
    const used = Object.entries(usedCommands).filter(([, use]) => use === uses[at]);
    assert.deepEqual(named.toSorted(), used.map(([name]) => name).toSorted(), row);
  }
});

test("every field of its settings files is a setting, with a value that is taken", () => {
  const files = [...page.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, text]) => parse(text!));
  assert.equal(files.length, 3);
  for (const [name, value] of files.flatMap((file) => Object.entries(file as object))) {
    const spec = (options as Readonly<Record<string, OptionSpec>>)[name];
    assert.ok(spec, name);
    spec.parse(String(value));
  }
});
