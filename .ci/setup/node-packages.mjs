/** The npm packages, exactly as package-lock.json names them. */
import { readFileSync } from "node:fs";
import { run, underRoot } from "./run.mjs";

export function nodePackagesStep() {
  return {
    title: () => "npm packages",
    isDone: installedAsLocked,
    // No install script is needed: binaries come inside the packages, the addon is built by us.
    run: () => run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]),
  };
}

/** npm writes node_modules/.package-lock.json last, so an interrupted installation has none. */
function installedAsLocked() {
  const locked = packagesOf("package-lock.json");
  const installed = packagesOf("node_modules/.package-lock.json");
  if (!locked || !installed) return false;
  const names = new Set([...Object.keys(locked), ...Object.keys(installed)]);
  names.delete("");
  return [...names].every((name) => {
    if (!installed[name]) return !isForThisMachine(locked[name]);
    return locked[name]?.integrity === installed[name].integrity;
  });
}

function isForThisMachine({ os, cpu, libc }) {
  const allows = (list, mine) => !list || list.includes(mine);
  return allows(os, "linux") && allows(cpu, "x64") && allows(libc, "glibc");
}

function packagesOf(path) {
  try {
    return JSON.parse(readFileSync(underRoot(path), "utf8")).packages;
  } catch {
    return undefined;
  }
}
