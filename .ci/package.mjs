/**
 * Makes what operators install, in dist/: the Debian package, the RPM, the tarball for everything else,
 * and SHA256SUMS of them. Run by the pinned Node after set-up (`npm run package`). The same commit gives
 * the same bytes: every date is the commit's (or SOURCE_DATE_EPOCH), names are sorted, owners are
 * root, and compressors run on one thread.
 *
 *   .ci/node .ci/package.mjs [--output DIR]
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { bundledParts } from "./package/bundled-parts.mjs";
import { buildDeb } from "./package/deb.mjs";
import { licenceTexts } from "./package/licences.mjs";
import { manualFiles } from "./package/manual.mjs";
import { buildRpm } from "./package/rpm.mjs";
import { runTool } from "./package/run-tool.mjs";
import { billOfMaterials } from "./package/sbom.mjs";
import { buildTarball } from "./package/tarball.mjs";
import { underRoot } from "./setup/run.mjs";

async function main() {
  const { values } = parseArgs({ options: { output: { type: "string" } } });
  const output = resolve(values.output ?? underRoot("dist"));
  const work = mkdtempSync(join(underRoot("build"), "package-"));
  mkdirSync(output, { recursive: true });
  try {
    const executable = join(work, "executable");
    runTool(process.execPath, [underRoot(".ci/build.mjs"), "--output", executable]);
    const release = { ...identity(), executable };
    const parts = await bundledParts();
    const contents = {
      release,
      manual: manualFiles(release),
      licences: licenceTexts(parts),
      sbom: billOfMaterials(release, parts),
    };
    const made = [buildDeb, buildRpm, buildTarball].map((make) => make(contents, work, output));
    report(output, made);
  } finally {
    rmSync(work, { recursive: true });
  }
}

/** What is packaged, and as of when. */
function identity() {
  const version = readFileSync(underRoot("VERSION.txt"), "utf8").trim();
  const commit = git("rev-parse", "HEAD");
  const epoch = Number(process.env.SOURCE_DATE_EPOCH ?? git("log", "-1", "--format=%ct"));
  if (!Number.isSafeInteger(epoch) || epoch <= 0) {
    throw new Error("package: neither git nor SOURCE_DATE_EPOCH tells the date of the sources");
  }
  return { version, commit, epoch };
}

function git(...args) {
  const result = spawnSync("git", ["-C", underRoot("."), ...args], { encoding: "utf8" });
  return result.status === 0 ? result.stdout.trim() : undefined;
}

function report(output, files) {
  const sums = files.map((file) => {
    const hash = createHash("sha256").update(readFileSync(file)).digest("hex");
    const megabytes = (statSync(file).size / 1e6).toFixed(1);
    console.log(`${relative(process.cwd(), file)}: ${megabytes} MB, sha256 ${hash}`);
    return `${hash}  ${basename(file)}\n`;
  });
  writeFileSync(join(output, "SHA256SUMS"), sums.join(""));
}

await main();
