#!/usr/bin/env node
/**
 * Brings a fresh clone to where it can run: system packages, npm packages, the addon and, by group,
 * what the laboratory, the tests and the benchmark stand on. Does nothing, quickly, when nothing is
 * to be done. Plain JavaScript without dependencies: any Node >= 20 runs it before npm has run.
 *
 *   node .ci/setup.mjs [--lab] [--test] [--bench] [--guests] [--package]
 */
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { artefactSteps } from "./setup/artefacts.mjs";
import { nodePackagesStep } from "./setup/node-packages.mjs";
import { SetupError, startLog, underRoot } from "./setup/run.mjs";
import { systemPackagesStep } from "./setup/system-packages.mjs";

const groupsOfFlag = {
  "--lab": ["lab"],
  "--test": ["lab", "test"],
  "--bench": ["lab", "bench"],
  "--guests": ["lab", "guests"],
  "--package": ["lab", "package"],
};
const lockedVariable = "MIGRATEKIT_SETUP_LOCKED";

function main(flags) {
  checkPlatform();
  const groups = groupsFrom(flags);
  const steps = [systemPackagesStep(groups), nodePackagesStep(), ...artefactSteps(groups)];
  if (steps.every((step) => step.isDone())) return 0;
  if (!process.env[lockedVariable]) return runAgainUnderLock(flags);
  startLog();
  for (const step of steps) carryOut(step);
  return 0;
}

function checkPlatform() {
  if (Number.parseInt(process.versions.node, 10) < 20) {
    throw new SetupError(`Node 20 or newer is needed to start; this is ${process.version}.`);
  }
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new SetupError(
      `migratekit is built for Linux on x86-64; this is ${process.platform} on ${process.arch}.`,
    );
  }
}

function groupsFrom(flags) {
  const groups = new Set(["base"]);
  for (const flag of flags) {
    const named = groupsOfFlag[flag];
    if (!named) {
      throw new SetupError(`Unknown flag ${flag}; known: ${Object.keys(groupsOfFlag).join(" ")}`);
    }
    for (const group of named) groups.add(group);
  }
  return groups;
}

/**
 * Two `npm test` at once must not build the same things. The lock is the kernel's, so it cannot
 * outlive its holder; --close keeps services that apt starts from inheriting it.
 */
function runAgainUnderLock(flags) {
  mkdirSync(underRoot(".lab"), { recursive: true });
  const busy = 75;
  const attempt = (...how) =>
    spawnSync(
      "flock",
      [
        ...how,
        "--close",
        underRoot(".lab/setup.lock"),
        process.execPath,
        fileURLToPath(import.meta.url),
        ...flags,
      ],
      { stdio: "inherit", env: { ...process.env, [lockedVariable]: "1" } },
    );
  let result = attempt("--nonblock", "--conflict-exit-code", String(busy));
  if (result.status === busy) {
    console.log("setup: waiting for another set-up in this directory");
    result = attempt();
  }
  if (result.error) throw new SetupError(`flock could not be run: ${result.error.message}`);
  return result.status ?? 1;
}

function carryOut(step) {
  if (step.isDone()) return;
  const startedAt = Date.now();
  process.stdout.write(`setup: ${step.title()} …`);
  try {
    step.run();
  } catch (error) {
    process.stdout.write(" failed\n");
    throw error;
  }
  process.stdout.write(` ${((Date.now() - startedAt) / 1000).toFixed(1)} s\n`);
}

try {
  process.exitCode = main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof SetupError || error.syscall)) throw error;
  console.error(`setup: ${error.message}`);
  process.exitCode = 1;
}
