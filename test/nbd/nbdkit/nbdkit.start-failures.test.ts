import assert from "node:assert/strict";
import { chmod, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { inspectNbdkit } from "../../../src/nbd/nbdkit/inspect.ts";
import { startNbdkit } from "../../../src/nbd/nbdkit/nbdkit.ts";
import { processesNaming } from "../../lab/process-table.ts";
import { libdirOfLink, libdirOfVersion, libdirThatNeeds } from "../../lab/vddk/libdirs.ts";
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

test("a file that is no library is named, and what is wrong with it", async () => {
  await using fixture = await makeVddkFixture();
  const libdir = join(fixture.scratch.dir, "no-library");
  await mkdir(join(libdir, "lib64"), { recursive: true });
  await writeFile(join(libdir, "lib64/libvixDiskLib.so.8"), "this is not ELF, but long enough");
  await assert.rejects(inspectNbdkit({ ...fixture.source, libdir }), {
    code: "vddk-library-missing",
    message: /(?:invalid ELF header|file too short).*\(libvixDiskLib\.so\.8 found\)/,
  });
});

test("a VDDK that is newer than the plugin knows: which versions it loads", async () => {
  await using fixture = await makeVddkFixture();
  for (const version of [9, 99]) {
    const libdir = await libdirOfVersion(join(fixture.scratch.dir, `newer-${version}`), version);
    await assert.rejects(inspectNbdkit({ ...fixture.source, libdir }), {
      code: "vddk-library-missing",
      message: new RegExp(`libvixDiskLib\\.so\\.8: .*\\(libvixDiskLib\\.so\\.${version} found\\)`),
      remedy: /^The plugin 1\.\d+\.\d+ loads VDDK 6, 7, 8: take one of these, or a newer plugin\.$/,
    });
  }
});

test("a library that VDDK needs and that is not there is named, not VDDK", async () => {
  await using fixture = await makeVddkFixture();
  const libdir = await libdirThatNeeds(join(fixture.scratch.dir, "needs"), "libof-no-one.so.1");
  await assert.rejects(inspectNbdkit({ ...fixture.source, libdir }), {
    code: "vddk-library-missing",
    message: /libof-no-one\.so\.1: cannot open shared object file/,
    remedy: /^Install libof-no-one\.so\.1, which VDDK needs/,
  });
});

test("libcrypt.so.1 is named with its package", async () => {
  await using fixture = await makeVddkFixture();
  const { scratch, source } = fixture;
  const libdir = await libdirThatNeeds(join(scratch.dir, "needs"), "libcrypt-of-no-one.so.1");
  // This machine has libcrypt.so.1: the loader's words of another library, with that name in them.
  const nbdkit = join(scratch.dir, "nbdkit");
  await writeFile(nbdkit, '#!/bin/sh\nnbdkit "$@" 2>&1 | sed s/libcrypt-of-no-one/libcrypt/\n');
  await chmod(nbdkit, 0o755);
  await assert.rejects(inspectNbdkit({ ...source, nbdkit, libdir }), {
    message: /libcrypt\.so\.1: cannot open shared object file/,
    remedy: /Install libcrypt\.so\.1, .*: libxcrypt-compat on RHEL 9 and Fedora/,
  });
});

test("a link into nothing is not called found, be it VDDK's library or one that it needs", async () => {
  await using fixture = await makeVddkFixture();
  const { dir } = fixture.scratch;
  const whole = { code: "vddk-library-missing", remedy: /^Unpack VDDK anew, with its links/ };
  await assert.rejects(
    inspectNbdkit({ ...fixture.source, libdir: await libdirOfLink(join(dir, "link")) }),
    { ...whole, message: /\(libvixDiskLib\.so\.8 is a link into nothing\)$/ },
  );
  const libdir = await libdirThatNeeds(join(dir, "needs"), "libof-no-one.so.1", "link");
  await assert.rejects(inspectNbdkit({ ...fixture.source, libdir }), {
    ...whole,
    message: /libof-no-one\.so\.1: cannot open/,
  });
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
