import { execFileSync } from "node:child_process";
import { buildInfo } from "./build-info.ts";
import { libnbdVersion } from "./nbd/copy-engine/copy-engine.ts";

/** Lines of `--version`. Libraries and programs that are not there are simply not listed. */
export function versionText(): string {
  const parts = [
    [
      "migratekit",
      buildInfo.commit ? `${buildInfo.version} (${buildInfo.commit})` : buildInfo.version,
    ],
    ["node", process.versions.node],
    ["libnbd", attempt(libnbdVersion)],
    ["nbdkit", attempt(nbdkitVersion)],
  ];
  return parts
    .filter(([, version]) => version)
    .map(([name, version]) => `${name} ${version}\n`)
    .join("");
}

function nbdkitVersion(): string | undefined {
  const text = execFileSync("nbdkit", ["--version"], {
    encoding: "utf8",
    timeout: 5000,
    stdio: ["ignore", "pipe", "ignore"],
  });
  return /\d+(?:\.\d+)+/.exec(text)?.[0];
}

function attempt(read: () => string | undefined): string | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
