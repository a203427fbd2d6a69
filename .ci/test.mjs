/**
 * Lint, then every test in real processes, then a look for what the tests left behind. Run by the
 * pinned Node after set-up:
 *
 *   npm test                        everything but test/guests
 *   npm test -- test/state          the tests of a folder or file, without lint
 *   npm test -- --test-name-pattern=overlap test/nbd
 *   npm test -- --executable test/e2e/verify.test.ts
 *
 * Of everything, the tests of whole runs drive the executable, as it is what users have; what is named
 * drives the sources, unless --executable is given.
 */
import { spawn, spawnSync } from "node:child_process";
import { globSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { OverdueFiles } from "./test/overdue.ts";
import { descendantsOf, endDescendants, killProcess, runAsSubreaper } from "./test/process-tree.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const pattern = "**/*.test.ts";
/** One more than there are processors: half of a test's time is waiting, for a timeout or for a server that starts. */
const concurrency = availableParallelism() + 1;
/** For a file as a whole: Node's own timeout ends a test but not a process that lives on after it. */
const fileTimeoutMs = 25 * 60_000;
const overduePollMs = 1_000;
const endOfChildrenMs = 3_000;
const insideVariable = "MIGRATEKIT_TEST_INSIDE";
const wholeRuns = ["test/e2e/", "test/package/", "test/torture/"];
/** The folders whose tests start the executable (test/lab/run-cli.ts); no name that migratekit would wonder at. */
const executableVariable = "TESTS_OF_EXECUTABLE";

async function main(args) {
  const flags = args.filter((arg) => arg.startsWith("-") && arg !== "--executable");
  const paths = args.filter((arg) => !arg.startsWith("-"));
  const driven = paths.length === 0 || args.includes("--executable") ? wholeRuns : [];
  const files = (paths.length > 0 ? paths : everydayPaths()).flatMap(testFiles);
  if (files.length === 0) return fail(`no test files (${pattern}) in ${paths.join(" ")}`);
  const problems = [];
  if (paths.length === 0 && !lint()) problems.push("lint failed");
  const needsBinary = (file) => isUnder([...driven, "test/executable/"], file);
  if (files.some(needsBinary) && !build()) problems.push("the binary could not be built");
  problems.push(...(await runTests(files, flags, driven)));
  return problems.length > 0 ? fail(problems.join("\n")) : 0;
}

/** Guests are started and converted for a while: `npm run test:guests`. */
function everydayPaths() {
  const folder = join(root, "test");
  return readdirSync(folder)
    .filter((name) => name !== "guests")
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isDirectory() || path.endsWith(".test.ts"));
}

function testFiles(path) {
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return [path];
  return globSync(pattern, { cwd: path })
    .map((name) => join(path, name))
    .sort();
}

function lint() {
  const biome = tool("@biomejs/biome/bin/biome", ["check", "--error-on-warnings"]);
  const types = tool("typescript/bin/tsc", []);
  return biome && types;
}

function isUnder(folders, file) {
  return folders.some((folder) => relative(root, file).startsWith(folder));
}

function build() {
  return runNode([join(root, ".ci/build.mjs"), "--if-changed"]);
}

function tool(path, args) {
  return runNode([join(root, "node_modules", path), ...args]);
}

function runNode(args) {
  return spawnSync(process.execPath, args, { cwd: root, stdio: "inherit" }).status === 0;
}

/**
 * Every run has a temporary folder of its own, so that whatever is in it afterwards was left by this
 * run. Its path is short because the path of a Unix socket is limited to 108 bytes.
 */
async function runTests(files, flags, driven) {
  const temporary = mkdtempSync("/tmp/mk-");
  const runner = spawn(
    process.execPath,
    [
      "--disable-warning=ExperimentalWarning",
      "--test",
      `--test-concurrency=${concurrency}`,
      `--test-reporter=${join(root, ".ci/test/reporter.mjs")}`,
      "--test-reporter-destination=stdout",
      ...flags,
      ...files.map((file) => relative(root, file)),
    ],
    { cwd: root, stdio: ["ignore", "inherit", "inherit"], env: environment(temporary, driven) },
  );
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => runner.kill(signal));
  const overdue = watchForOverdueFiles(runner.pid);
  const [status, signal] = await new Promise((resolve) => {
    runner.on("exit", (...how) => resolve(how));
  });
  const problems = status === 0 ? [] : [`tests failed (${signal ?? status})`];
  return [...problems, ...overdue.end(), ...(await leftovers(temporary))];
}

/** Kills the process of a test file that takes too long; the runner then reports it as failed. */
function watchForOverdueFiles(runnerPid) {
  const files = new OverdueFiles(fileTimeoutMs);
  const problems = [];
  const timer = setInterval(() => {
    const children = descendantsOf(runnerPid).filter(({ parent }) => parent === runnerPid);
    for (const { pid, words } of files.look(children, Date.now())) {
      problems.push(`killed after ${fileTimeoutMs / 1000} s: ${words.at(-1)}`);
      killProcess(pid);
    }
  }, overduePollMs);
  return {
    end() {
      clearInterval(timer);
      return problems;
    },
  };
}

/** This machine's environment without what would steer migratekit; the seeds of a failed run stay. */
function environment(temporary, driven) {
  const ours = /^(MIGRATEKIT_(?!.*SEED)|CLOUDSTACK_API_URL$|NBD_LOCAL_PORT$|NODE_OPTIONS$|XDG_)/;
  const kept = Object.entries(process.env).filter(([name]) => !ours.test(name));
  // npm, which some tests run, would keep compiled code in the temporary folder.
  return {
    ...Object.fromEntries(kept),
    TMPDIR: temporary,
    NODE_DISABLE_COMPILE_CACHE: "1",
    [executableVariable]: driven.join(" "),
  };
}

async function leftovers(temporary) {
  const processes = await endDescendants(process.pid, endOfChildrenMs);
  const files = readdirSync(temporary, { recursive: true });
  rmSync(temporary, { recursive: true, force: true });
  return [
    ...processes.map(({ words }) => `left running by the tests: ${words.join(" ")}`),
    ...files.slice(0, 20).map((name) => `left in the temporary folder by the tests: ${name}`),
  ];
}

function fail(message) {
  console.error(`npm test: ${message.replaceAll("\n", "\nnpm test: ")}`);
  return 1;
}

const [, script, ...args] = process.argv;
process.exitCode = process.env[insideVariable]
  ? await main(args)
  : await runAsSubreaper([script, ...args], { ...process.env, [insideVariable]: "1" });
