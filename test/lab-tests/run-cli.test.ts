import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { commandFor, startCli } from "../lab/run-cli.ts";

const root = join(import.meta.dirname, "../..");
const sources = [join(root, ".ci/node"), join(root, "src/cli.ts")];

test("tests start the sources, in the folders that npm test names the executable, and what is told", () => {
  const executable = [join(root, "dist/migratekit")];
  const whole = { TESTS_OF_EXECUTABLE: "test/e2e/ test/package/ test/torture/" };
  const one = join(root, "test/e2e/verify.test.ts");
  assert.deepEqual(commandFor(one, {}), sources);
  assert.deepEqual(commandFor(one, { TESTS_OF_EXECUTABLE: "" }), sources);
  assert.deepEqual(commandFor(one, whole), executable);
  assert.deepEqual(commandFor(join(root, "test/torture/runners.test.ts"), whole), executable);
  assert.deepEqual(commandFor(join(root, "test/security/names.test.ts"), whole), sources);
  assert.deepEqual(commandFor("", whole), sources);
  assert.deepEqual(commandFor(one, { MIGRATEKIT_TEST_BINARY: "/usr/bin/mk" }), ["/usr/bin/mk"]);
});

test("this file's program comes from the sources", async () => {
  const { code, stdout } = await startCli({ args: ["--version"] }).result;
  assert.equal(code, 0);
  assert.match(stdout, /migratekit/);
});
