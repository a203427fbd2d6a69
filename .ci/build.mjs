/**
 * Builds dist/migratekit: the pinned Node as a single executable with the bundled program, its
 * code cache, the WSDL and the addon inside. Two builds of one commit are identical.
 *
 *   .ci/node .ci/build.mjs [--if-changed] [--output FILE]
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build as bundle } from "esbuild";
import { fingerprintOf } from "./setup/fingerprint.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const addon = join(root, "build/Release/migratekit.node");
/** Marks the place in Node's binary that says whether a program is inside. */
const fuse = "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2";

async function main() {
  const { values } = parseArgs({
    options: { "if-changed": { type: "boolean" }, output: { type: "string" } },
  });
  const output = resolve(values.output ?? join(root, "dist/migratekit"));
  const info = buildInfo();
  const stamp = join(root, "build/stamps/executable");
  const inputs = fingerprintOf(
    ["src", ".ci/build.mjs", "VERSION.txt", "package-lock.json", relative(root, addon)],
    JSON.stringify(info),
  );
  if (values["if-changed"] && existsSync(output) && read(stamp) === inputs) return;
  // A folder of its own for each build, so that two at once do not mix.
  const work = mkdtempSync(join(root, "build/executable-"));
  try {
    await makeExecutable(info, work, output);
  } finally {
    rmSync(work, { recursive: true });
  }
  if (!values.output) writeStamp(stamp, inputs);
  report(output);
}

async function makeExecutable(info, work, output) {
  const program = join(work, "migratekit.cjs");
  await makeBundle(info, program);
  const blob = makeBlob(program, strippedCopy(addon, join(work, "migratekit.node")));
  // Stripped before the blob goes in: afterwards strip would throw it out.
  const executable = strippedCopy(process.execPath, join(work, "migratekit"));
  run(work, process.execPath, [
    join(root, "node_modules/postject/dist/cli.js"),
    executable,
    "NODE_SEA_BLOB",
    blob,
    "--sentinel-fuse",
    fuse,
  ]);
  chmodSync(executable, 0o755);
  mkdirSync(dirname(output), { recursive: true });
  // By renaming: one that is running now goes on undisturbed.
  copyFileSync(executable, `${output}.${process.pid}`);
  renameSync(`${output}.${process.pid}`, output);
}

/** One CommonJS file, as single executables want it. Names stay, for stack traces. */
async function makeBundle(info, outfile) {
  await bundle({
    absWorkingDir: root,
    entryPoints: ["src/cli.ts"],
    outfile,
    bundle: true,
    platform: "node",
    format: "cjs",
    target: "node24",
    legalComments: "none",
    external: ["pg-native"], // another client, in C, which pg would load where it is asked for
    logLevel: "warning",
    define: {
      MIGRATEKIT_BUILD_INFO: JSON.stringify(info),
      "import.meta.url": "importMetaUrl",
    },
    banner: { js: 'const importMetaUrl = require("node:url").pathToFileURL(__filename).href;' },
  });
}

function makeBlob(program, addonFile) {
  const work = dirname(program);
  const blob = join(work, "migratekit.blob");
  const config = join(work, "config.json");
  writeFileSync(
    config,
    JSON.stringify({
      main: basename(program), // shown in stack traces; a path of this machine would be different elsewhere
      output: blob,
      disableExperimentalSEAWarning: true,
      useSnapshot: false,
      useCodeCache: true,
      execArgv: ["--disable-warning=ExperimentalWarning"],
      execArgvExtension: "none", // NODE_OPTIONS has no say
      assets: {
        "migratekit.node": addonFile,
        "vmware/wire/vim.wsdl": join(root, "src/vmware/wire/vim.wsdl"),
      },
    }),
  );
  // The code cache follows V8's hash seed, which is drawn from the random seed.
  run(work, process.execPath, ["--random-seed=1", "--experimental-sea-config", config]);
  return blob;
}

function strippedCopy(file, copy) {
  copyFileSync(file, copy);
  run(dirname(copy), "strip", [copy]);
  return copy;
}

/** The commit is marked when the sources differ from it. */
function buildInfo() {
  const version = readFileSync(join(root, "VERSION.txt"), "utf8").trim();
  const commit = git("rev-parse", "--short=12", "HEAD");
  if (!commit) return { version };
  const changed = git("status", "--porcelain", "--untracked-files=no", "--", "src", "native");
  return { version, commit: changed ? `${commit}+changes` : commit };
}

function git(...args) {
  const result = spawnSync("git", ["-C", root, ...args], { encoding: "utf8" });
  return result.status === 0 ? result.stdout.trim() : undefined;
}

function run(work, command, args) {
  // Nothing of the environment may show in the result.
  const env = { PATH: process.env.PATH, LC_ALL: "C" };
  const result = spawnSync(command, args, { cwd: work, env, encoding: "utf8" });
  if (result.status === 0) return;
  throw new Error(
    `${command} ${args.join(" ")}: ${result.error?.message ?? `${result.stdout}${result.stderr}`}`,
  );
}

function report(output) {
  const hash = createHash("sha256").update(readFileSync(output)).digest("hex");
  const megabytes = (statSync(output).size / 1e6).toFixed(1);
  console.log(`${relative(process.cwd(), output)}: ${megabytes} MB, sha256 ${hash}`);
}

function writeStamp(stamp, text) {
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, text);
}

function read(file) {
  return existsSync(file) ? readFileSync(file, "utf8") : undefined;
}

await main();
