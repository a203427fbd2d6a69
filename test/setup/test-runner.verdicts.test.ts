import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { fileURLToPath } from "node:url";

const runner = fileURLToPath(new URL("../../.ci/test.mjs", import.meta.url));
const header = 'import { test } from "node:test"; import * as fs from "node:fs";';

interface Verdict {
  status: number | null;
  output: string;
}

suite("npm test", { concurrency: 2 }, () => {
  test("passes when all tests pass, and closes with their number", () => {
    const { status, output } = verdictOn('test("one", () => {}); test("two", () => {});');
    assert.equal(status, 0, output);
    assert.match(output, /^# tests 2\n(#.*\n)*# pass 2\n# fail 0\n/m);
  });

  test("fails when a test fails, and shows why and what was printed", () => {
    const body = 'console.log("said before"); test("bad", () => { throw new Error("for this"); });';
    const { status, output } = verdictOn(body);
    assert.equal(status, 1);
    assert.match(output, /✖ bad[\s\S]*Error: for this[\s\S]*said before[\s\S]*# fail 1/);
  });

  test("shows why a subtest failed that stands in a helper", () => {
    const body = `const helper = process.env.TMPDIR + "/helper.mjs";
      fs.writeFileSync(helper, 'export const inner = (t) => t.test("bad", () => { throw new Error("for this"); });');
      const { inner } = await import(helper);
      fs.rmSync(helper);
      test("whole", (t) => inner(t));`;
    const { status, output } = verdictOn(body);
    assert.equal(status, 1);
    assert.match(output, /✖ in .*helper\.mjs\n\s+✖ bad[\s\S]*Error: for this/);
  });

  test("fails when a file cannot be run", () => {
    const { status, output } = verdictOn('throw new Error("at load");');
    assert.equal(status, 1);
    assert.match(output, /Error: at load/);
  });

  test("fails when a file holds no test", () => {
    const { status, output } = verdictOn("");
    assert.equal(status, 1);
    assert.match(output, /no test in it/);
  });

  for (const body of ['test("x", { skip: "no tool" }, () => {});', 'test.todo("x");']) {
    test(`takes ${body} as a failure in CI only`, () => {
      assert.equal(verdictOn(body, { CI: "true" }).status, 1);
      assert.equal(verdictOn(body).status, 0);
    });
  }

  test("fails when a test leaves a file behind, and removes it", () => {
    const body = `test("x", () => fs.writeFileSync(process.env.TMPDIR + "/left", process.env.TMPDIR!));
      console.log("in " + process.env.TMPDIR); test("y", () => { throw 1; });`;
    const { status, output } = verdictOn(body);
    assert.equal(status, 1);
    assert.match(output, /left in the temporary folder by the tests: left\n/);
    assert.equal(existsSync(/in (\/tmp\/\S+)/.exec(output)?.[1] ?? "/"), false);
  });

  test("fails when a test leaves a daemon behind, and ends it", () => {
    const body = `import { spawnSync } from "node:child_process";
      test("x", () => { spawnSync("setsid", ["--fork", "sleep", "98765"], { env: {}, cwd: "/", stdio: "ignore" }); });`;
    const { status, output } = verdictOn(body);
    assert.equal(status, 1);
    assert.match(output, /left running by the tests: sleep 98765\n/);
    assert.equal(spawnSync("pgrep", ["-fx", "sleep 98765"]).status, 1);
  });

  test("does not hand the caller's settings to the tests", () => {
    const body = `import assert from "node:assert";
      test("x", () => assert.equal(process.env.MIGRATEKIT_VMWARE_ENDPOINT, undefined));`;
    assert.equal(verdictOn(body, { MIGRATEKIT_VMWARE_ENDPOINT: "real.example" }).status, 0);
  });

  test("tells tests of whole runs to drive the executable, where --executable is given", () => {
    const body = `console.log("<" + process.env.TESTS_OF_EXECUTABLE + ">"); throw 1;`;
    assert.match(verdictOn(body).output, /<>/);
    const { output } = verdictOn(body, {}, ["--executable"]);
    assert.match(output, /<test\/e2e\/ test\/package\/ test\/torture\/>/);
  });
});

function verdictOn(
  body: string,
  variables: Record<string, string> = {},
  flags: readonly string[] = [],
): Verdict {
  const directory = mkdtempSync(join(tmpdir(), "verdict-"));
  try {
    writeFileSync(join(directory, "some.test.ts"), `${header}\n${body}\n`);
    const env: NodeJS.ProcessEnv = { ...process.env, ...variables };
    delete env.NODE_TEST_CONTEXT; // it is not a part of this run
    if (!variables.CI) delete env.CI;
    const { status, stdout, stderr } = spawnSync(process.execPath, [runner, ...flags, directory], {
      encoding: "utf8",
      env,
    });
    return { status, output: stdout + stderr };
  } finally {
    rmSync(directory, { recursive: true });
  }
}
