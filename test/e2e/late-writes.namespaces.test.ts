// A real line that breaks, with a real server and a real tunnel behind it: network namespaces.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

const root = join(import.meta.dirname, "../..");
const asRoot = process.getuid?.() === 0 ? [] : ["--map-root-user"];

test("what a tunnel still held of a killed run, and delivers when the line is up again, does no harm", async () => {
  // The tunnel sends again 12.6 and 25.4 s after the line broke.
  const script = [join(import.meta.dirname, "broken-line.ts"), "14", "--target-drop-time", "25s"];
  const within = ["--net", ...asRoot, join(root, ".ci/node"), ...script];
  const { stdout } = await promisify(execFile)("unshare", within);
  const { stderr, ...found } = JSON.parse(stdout) as Record<string, unknown>;
  const expected = { held: true, code: 0, equalAtEnd: true, equalLater: true };
  assert.deepEqual(found, expected, String(stderr));
  assert.match(String(stderr), /waiting for late writes of an interrupted run/);
});
