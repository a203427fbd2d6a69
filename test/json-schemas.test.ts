// The pages in docs/json/ and docs/json.md speak of the commands that there are.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { slugOf } from "../src/command-tree.ts";
import { commandNames } from "../src/options.ts";
import { optionsOf } from "../src/program.ts";
import { breachesOf } from "./lab/json-schema.ts";

const docs = join(import.meta.dirname, "../docs");
const withJson = commandNames.filter((name) =>
  optionsOf(name).some(([option]) => option === "json"),
);
const pages = readdirSync(join(docs, "json")).map((file) => file.replace(".schema.json", ""));

test("every command with --json has a schema, and docs/json.md names each", () => {
  const wanted = withJson.map(slugOf).sort();
  assert.deepEqual(pages.filter((page) => page !== "common").sort(), wanted);
  const page = readFileSync(join(docs, "json.md"), "utf8");
  for (const name of pages) assert.ok(page.includes(`(json/${name}.schema.json)`), name);
});

test("every reference leads somewhere, and every name is in snake_case", () => {
  for (const name of pages) {
    const text = readFileSync(join(docs, "json", `${name}.schema.json`), "utf8");
    const schema = JSON.parse(text) as { $defs?: Record<string, unknown> };
    for (const [, other, definition] of text.matchAll(
      /"\$ref": "(?:([\w-]+)\.schema\.json)?#\/\$defs\/(\w+)"/g,
    )) {
      const target = other === undefined ? schema : read(other);
      assert.ok(target.$defs?.[definition!], `${name}: ${definition}`);
    }
    for (const properties of propertiesIn(schema)) {
      for (const property of Object.keys(properties)) assert.match(property, /^[a-z][a-z0-9_]*$/);
    }
  }
});

function read(name: string): { $defs?: Record<string, unknown> } {
  return JSON.parse(readFileSync(join(docs, "json", `${name}.schema.json`), "utf8"));
}

function propertiesIn(value: unknown): object[] {
  if (typeof value !== "object" || value === null) return [];
  const { properties } = value as { properties?: object };
  const inside = Object.values(value).flatMap(propertiesIn);
  return properties === undefined ? inside : [properties, ...inside];
}

test("a document with a field that no schema names, of another type, or without one it needs is seen", () => {
  const failure = {
    status: "failed",
    exit_code: 2,
    error: { code: "usage", message: "m", remedy: "r" },
  };
  assert.deepEqual(breachesOf("migrate", failure), []);
  for (const wrong of [
    { ...failure, exitCode: 2 },
    { ...failure, surprise: 1 },
    { ...failure, exit_code: "2" },
    { ...failure, exit_code: 256 },
    { ...failure, status: "ended" },
    { status: "failed" },
    { ...failure, error: { code: "usage", message: "m" } },
    { ...failure, disks: [{ disk_id: "2000" }] },
  ]) {
    assert.notDeepEqual(breachesOf("migrate", wrong), [], JSON.stringify(wrong));
  }
});
