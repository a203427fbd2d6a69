// Fetches nbdkit's VDDK plugin from Debian. Plain Node >= 20, no dependencies, any user:
//   node fetch-plugin.mjs [OUTPUT]    default .lab/plugin/nbdkit-vddk-plugin.so
// Debian 12 has no such package and Debian 13 keeps it in contrib, so that it is fetched with a
// private apt configuration, from the mirror that the machine's own configuration names, checked
// against Debian's keyring, and unpacked; nothing is installed and no system list is touched.
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const packageName = "nbdkit-plugin-vddk";
const suite = "trixie";
const component = "contrib";
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";

function run(command, args, options = {}) {
  const result = spawnSync(command, args, { encoding: "utf8", ...options });
  if (result.error) throw new Error(`${command}: ${result.error.message}`);
  if (result.status === 0) return result.stdout;
  const output = `${result.stdout}${result.stderr}`.trim();
  throw new Error(`${command} ${args.at(-2)} ${args.at(-1)} failed: ${output}`);
}

/** The mirror of the machine's main Debian archive (not security, not a third party's). */
function debianMirror() {
  const lines = run("apt-get", ["indextargets", "--format", "$(LABEL)\t$(REPO_URI)"]).split("\n");
  const mirrors = lines.map((line) => line.split("\t")).filter(([label]) => label === "Debian");
  const mirror = mirrors[0]?.[1];
  if (mirror) return mirror;
  throw new Error("apt knows no Debian mirror; run apt-get update first (is this Debian?)");
}

function prepareApt(folder) {
  for (const name of ["lists/partial", "cache/archives/partial"])
    mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(join(folder, "status"), "");
  const signed = existsSync(keyring) ? ` signed-by=${keyring}` : "";
  writeFileSync(
    join(folder, "sources.list"),
    `deb [arch=amd64${signed}] ${debianMirror()} ${suite} ${component}\n`,
  );
  const settings = {
    "Dir::Etc::sourcelist": join(folder, "sources.list"),
    "Dir::Etc::sourceparts": "-",
    "Dir::State": folder,
    "Dir::State::lists": join(folder, "lists"),
    "Dir::State::status": join(folder, "status"),
    "Dir::Cache": join(folder, "cache"),
    "APT::Architecture": "amd64",
    "APT::Sandbox::User": "root",
    "Acquire::Retries": "3",
  };
  return Object.entries(settings).flatMap(([key, value]) => ["-o", `${key}=${value}`]);
}

function fetchPlugin(output) {
  const folder = mkdtempSync(join(tmpdir(), "migratekit-plugin-"));
  try {
    const options = prepareApt(folder);
    run("apt-get", [...options, "-q", "update"], { cwd: folder });
    run("apt-get", [...options, "-q", "download", packageName], { cwd: folder });
    const deb = readdirSync(folder).find((name) => name.endsWith(".deb"));
    if (!deb) throw new Error(`apt-get download left no package of ${packageName}`);
    run("dpkg", ["-x", deb, join(folder, "root")], { cwd: folder });
    const plugins = join(folder, "root/usr/lib/x86_64-linux-gnu/nbdkit/plugins");
    mkdirSync(dirname(output), { recursive: true });
    copyFileSync(join(plugins, "nbdkit-vddk-plugin.so"), `${output}.partial`);
    renameSync(`${output}.partial`, output);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const root = join(dirname(fileURLToPath(import.meta.url)), "../../..");
const output = resolve(process.argv[2] ?? join(root, ".lab/plugin/nbdkit-vddk-plugin.so"));
try {
  fetchPlugin(output);
} catch (error) {
  console.error(`Could not fetch ${packageName} from Debian ${suite}: ${error.message}`);
  process.exit(1);
}
