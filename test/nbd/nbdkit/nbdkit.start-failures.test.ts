import assert from "node:assert/strict";
import { chmod, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { inspectNbdkit } from "../../../src/nbd/nbdkit/inspect.ts";
import { startNbdkit } from "../../../src/nbd/nbdkit/nbdkit.ts";
import { processesNaming } from "../../lab/process-table.ts";
import {
  anyInspection,
  makeVddkFixture,
  fixture as program,
  run,
  type VddkFixture,
} from "../vddk-fixture.ts";

test("a look at nbdkit tells the versions of all three parts", async () => {
  await using fixture = await makeVddkFixture();
  const { nbdkit, plugin, libdir } = fixture.source;
  const inspection = await inspectNbdkit({ nbdkit, plugin, libdir });
  assert.match(inspection.nbdkitVersion, /^1\.\d+\.\d+/);
  assert.match(inspection.pluginVersion, /^1\.\d+\.\d+/);
  assert.equal(inspection.vddkLibraryVersion, "8");
  assert.match(inspection.vddkLibraryPath ?? "", /libvixDiskLib\.so\.8$/);
  assert.ok(inspection.filters.has("blocksize-policy"));
});

const missingParts: [
  what: string,
  change: { nbdkit?: string; plugin?: string; libdir?: string },
  code: string,
  message: RegExp,
][] = [
  ["no nbdkit at a path", { nbdkit: "/nowhere/nbdkit" }, "nbdkit-missing", /no such program/],
  ["no nbdkit in PATH", { nbdkit: "nbdkit-of-no-one" }, "nbdkit-missing", /looked for in PATH/],
  ["a directory as nbdkit", { nbdkit: "/tmp" }, "nbdkit-missing", /EACCES/],
  [
    "another program as nbdkit",
    { nbdkit: program("not-nbdkit.sh") },
    "nbdkit-missing",
    /does not behave like nbdkit.*GNU something/,
  ],
  ["no plugin", { plugin: "vddk-of-no-one" }, "vddk-plugin-missing", /cannot open plugin/],
  ["no plugin at a path", { plugin: "/no/v.so" }, "vddk-plugin-missing", /\/no\/v\.so/],
  ["another plugin", { plugin: "memory" }, "vddk-plugin-missing", /nbdkit's plugin "memory"/],
  ["a plugin that looks like a flag", { plugin: "--help" }, "vddk-plugin-missing", /--help/],
  ["no VDDK directory", { libdir: "/nowhere/vddk" }, "vddk-library-missing", /no such directory/],
  [
    "a file as VDDK directory",
    { libdir: "/etc/passwd" },
    "vddk-library-missing",
    /not a directory/,
  ],
];

for (const [what, change, code, message] of missingParts) {
  test(`${what} is refused as ${code}`, async () => {
    await using fixture = await makeVddkFixture();
    const source = { ...fixture.source, ...change };
    const { scratch, log } = fixture;
    const options = { logger: log.logger, tempDir: scratch.dir };
    await assert.rejects(startNbdkit(source, options), { code, message });
  });
}

test("an nbdkit that may not be executed is told so", async () => {
  await using fixture = await makeVddkFixture();
  const nbdkit = join(fixture.scratch.dir, "nbdkit");
  await writeFile(nbdkit, "#!/bin/sh\n");
  await chmod(nbdkit, 0o644);
  await assert.rejects(inspectNbdkit({ ...fixture.source, nbdkit }), {
    code: "nbdkit-missing",
    message: /EACCES/,
  });
});

test("an nbdkit that never answers is ended, with what it started", async () => {
  await using fixture = await makeVddkFixture();
  const nbdkit = join(fixture.scratch.dir, "hangs.sh");
  await symlink(program("hangs.sh"), nbdkit);
  await assert.rejects(inspectNbdkit({ ...fixture.source, nbdkit, timeoutMs: 300 }), {
    code: "nbdkit-missing",
    message: /gave no answer in time/,
  });
  assert.deepEqual(processesNaming(nbdkit), []);
  process.kill(Number(await readFile(`${nbdkit}.child`, "utf8")));
});

test("a VDDK directory without a library says what is not there", async () => {
  await using fixture = await makeVddkFixture();
  const libdir = join(fixture.scratch.dir, "empty");
  await mkdir(libdir);
  await assert.rejects(inspectNbdkit({ ...fixture.source, libdir }), {
    code: "vddk-library-missing",
    message: /cannot open shared object file.*no libvixDiskLib\.so\.N lies there/,
  });
});

test("a library newer than the plugin knows, and one that is no library, are named", async () => {
  await using fixture = await makeVddkFixture();
  for (const name of ["libvixDiskLib.so.99", "libvixDiskLib.so.8"]) {
    const libdir = join(fixture.scratch.dir, `with-${name}`);
    await mkdir(join(libdir, "lib64"), { recursive: true });
    await writeFile(join(libdir, "lib64", name), "this is not ELF, but long enough to be read");
    await assert.rejects(inspectNbdkit({ ...fixture.source, libdir }), (error: Error) => {
      assert.match(error.message, new RegExp(`${name.replaceAll(".", "\\.")} found`));
      if (name.endsWith("8")) assert.match(error.message, /invalid ELF header|file too short/);
      return true;
    });
  }
});

test("an nbdkit that ends at once is told with its last words", async () => {
  await using fixture = await makeVddkFixture();
  await assert.rejects(startProgram(fixture, "exits-at-once.sh"), {
    code: "source-open",
    message: /ended before it listened \(exit code 1\) and said: bind: Address already in use/,
  });
});

test("an nbdkit that prints but never listens is killed after the time limit", async () => {
  await using fixture = await makeVddkFixture();
  await assert.rejects(startProgram(fixture, "never-listens.sh"), {
    code: "source-open",
    message: /did not listen on its socket within 0\.5 s and said: [^\0]+garbage without an end$/,
  });
});

test("a server that does not speak NBD on the socket is not taken for nbdkit", async () => {
  await using fixture = await makeVddkFixture();
  await assert.rejects(startProgram(fixture, "wrong-protocol.mjs"), {
    code: "source-open",
    message: /did not listen on its socket/,
  });
});

test("real nbdkit without the filter for block sizes serves all the same", async () => {
  await using fixture = await makeVddkFixture();
  const { source, scratch, log } = fixture;
  await using nbdkit = await startNbdkit(source, {
    logger: log.logger,
    tempDir: scratch.dir,
    inspection: anyInspection,
  });
  await run("nbdcopy", [nbdkit.uri, join(scratch.dir, "copy.img")]);
  await run("cmp", [join(scratch.dir, "copy.img"), fixture.image]);
});

test("a temporary directory that cannot be written is named", async () => {
  await using fixture = await makeVddkFixture();
  const options = { logger: fixture.log.logger, tempDir: "/proc/self" };
  await assert.rejects(startNbdkit(fixture.source, options), {
    code: "source-open",
    message: /no private directory .* \/proc\/self/,
  });
});

test("a temporary directory too deep for a socket's path is replaced by /tmp", async () => {
  await using fixture = await makeVddkFixture();
  const tempDir = join(fixture.scratch.dir, "d".repeat(100));
  await mkdir(tempDir);
  const options = { logger: fixture.log.logger, tempDir };
  await using nbdkit = await startNbdkit(fixture.source, options);
  assert.match(nbdkit.uri, /socket=%2Ftmp%2Fmigratekit-nbdkit-/);
});

function startProgram(fixture: VddkFixture, name: string) {
  const { scratch, log } = fixture;
  return startNbdkit(
    { ...fixture.source, nbdkit: program(name) },
    { logger: log.logger, tempDir: scratch.dir, inspection: anyInspection, readyTimeoutMs: 500 },
  );
}
