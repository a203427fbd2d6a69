/**
 * Installs the package where an operator would: in a minimal Debian made with debootstrap, without
 * Node and without a compiler. There it runs the lab's whole demonstration with the installed program
 * (the lab itself stays outside), then removes and purges the package and looks for what is left.
 * Needs root, and `npm run package` before. Several minutes; the minimal roots are kept in .lab/roots.
 *
 *   .ci/node .ci/package/try-in-root.mjs [bookworm] [trixie]
 */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { underRoot } from "../setup/run.mjs";
import { expect, minimalRoot, Root, say, title } from "./minimal-root.mjs";

const suites = ["bookworm", "trixie"];
const insideVariable = "MIGRATEKIT_TRY_INSIDE";
/** The stand-in for VMware's library and the VDDK plugin. */
const labParts = underRoot(".lab");

/** Mounts are made in a namespace of our own: they are gone when we are. */
function main(args) {
  if (process.getuid?.() !== 0) throw new Error("package:try needs root (debootstrap, chroot)");
  if (process.env[insideVariable]) return args.forEach(tryIn);
  const wanted = args.length > 0 ? args : suites;
  const self = fileURLToPath(import.meta.url);
  const result = spawnSync(
    "unshare",
    ["--mount", "--propagation", "private", process.execPath, self, ...wanted],
    { stdio: "inherit", env: { ...process.env, [insideVariable]: "1" } },
  );
  process.exitCode = result.status ?? 1;
}

function tryIn(suite) {
  const startedAt = Date.now();
  const work = mkdtempSync("/var/tmp/migratekit-try-");
  const root = new Root(join(work, "root"));
  try {
    title(`Debian ${suite}`);
    root.prepare(minimalRoot(suite));
    const before = { files: root.files(), packages: root.packages() };
    install(root);
    look(root);
    demonstrate(root, work);
    removeAndPurge(root, before);
    console.log(`Debian ${suite}: all is well, ${Math.round((Date.now() - startedAt) / 1000)} s`);
  } finally {
    root.release();
    rmSync(work, { recursive: true, force: true });
  }
}

function install(root) {
  const [deb] = globSync("migratekit_*_amd64.deb", { cwd: underRoot("dist") });
  if (!deb) throw new Error("there is no package in dist: run npm run package first");
  copyFileSync(underRoot(join("dist", deb)), join(root.path, "tmp", deb));
  say("dpkg -i, which lacks the dependencies, and apt-get -f install, which brings them");
  const refusal = root.sh(`dpkg -i /tmp/${deb}`, { mayFail: true });
  expect(/dependency problems/.test(refusal), `dpkg names what is missing:\n${refusal}`);
  root.sh("apt-get -f install -y -q --no-install-recommends");
  root.sh(`rm /tmp/${deb}`);
}

function look(root) {
  const tools = root.sh("command -v node nodejs cc gcc g++ make npm || true");
  expect(tools === "", `neither Node nor a compiler is in the root ${tools}`);
  const version = root.sh("migratekit --version");
  console.log(version.replace(/^/gm, "    "));
  expect(/^libnbd 1\./m.test(version) && /^nbdkit 1\./m.test(version), "--version finds both");
  expect(root.sh("dpkg --verify migratekit") === "", "every file is as the package has it");
  const state = root.sh("stat -c '%U %G %a' /var/lib/migratekit");
  expect(state === "migratekit migratekit 700", `/var/lib/migratekit: ${state}`);
  const asUser = root.sh(
    "setpriv --reuid=migratekit --regid=migratekit --clear-groups --reset-env migratekit --version",
  );
  expect(/^libnbd 1\./m.test(asUser), "the system account can use it, too");
  root.sh("test -e /usr/share/doc/migratekit/sbom.cdx.json");
  const history = root.sh(
    "migratekit history --vmware-endpoint vcenter --vmware-path /DC/vm/x 2>&1",
    {
      mayFail: true,
    },
  );
  expect(/going on as migratekit/.test(history), `root becomes the system account: ${history}`);
  const strangers = root.sh("find /var/lib/migratekit ! -user migratekit");
  expect(strangers === "", `all state is the account's ${strangers}`);
}

/** The demonstration starts "migratekit" by this script, and migratekit finds nbdkit in the root. */
function demonstrate(root, work) {
  const lab = join(work, "lab");
  mkdirSync(lab);
  root.share(lab);
  root.share(labParts);
  const program = join(work, "migratekit");
  writeFileSync(program, `#!/bin/sh\nexec chroot ${root.path} /usr/bin/migratekit "$@"\n`);
  chmodSync(program, 0o755);
  say("the lab's demonstration, with the installed program");
  const result = spawnSync(underRoot(".ci/node"), [underRoot("test/lab/demo.ts")], {
    stdio: "inherit",
    // Files of this machine that its environment names are not in the root.
    env: { PATH: process.env.PATH, TMPDIR: lab, MIGRATEKIT_TEST_BINARY: program },
  });
  expect(result.status === 0, "the demonstration ends well");
}

function removeAndPurge(root, before) {
  root.release();
  root.mount("proc", ["-t", "proc", "proc"]);
  root.sh("touch /etc/migratekit/vms/web01.yaml /etc/migratekit/credentials/web01");
  root.sh("apt-get remove -y -q migratekit");
  expect(!existsSync(join(root.path, "usr/bin/migratekit")), "removing takes the program");
  expect(existsSync(join(root.path, "etc/migratekit/config.yaml")), "removing leaves the settings");
  root.sh("apt-get purge -y -q migratekit");
  const account = root.sh("getent passwd migratekit; getent group migratekit", { mayFail: true });
  expect(account === "", "purging takes the account");
  const named = root.sh("find / -xdev -not -path '/proc/*' -name '*migratekit*'");
  expect(named === "", `no file is named after it ${named}`);
  const others = [...root.packages()].filter((name) => !before.packages.has(name));
  root.sh(`apt-get purge -y -q ${others.join(" ")}`);
  const left = [...root.files()].filter((path) => !before.files.has(path) && !expected.test(path));
  expect(left.length === 0, `with its dependencies gone, nothing is left ${left.join(" ")}`);
}

/** What apt, dpkg and adduser leave after any package. */
const expected =
  /^\/(run\/|var\/(log|cache|lib\/(dpkg|apt|pam|systemd))\b|etc\/(passwd|group|shadow|gshadow|subuid|subgid)-?$|etc\/\.pwd\.lock)/;

main(process.argv.slice(2));
