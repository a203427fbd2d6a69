/** The Debian package: where each file goes, and what dpkg is told about them. */
import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { underRoot } from "../setup/run.mjs";
import { runTool } from "./run-tool.mjs";
import { Tree } from "./tree.mjs";

const files = underRoot(".ci/package/files");
const documentation = "usr/share/doc/migratekit";
/** What every package says of itself. */
export const description = `migratekit copies the disks of a running VMware virtual machine to the NBD
targets of Apache CloudStack (KVM): everything the first time, then only the
blocks that changed, until a short cutover ends the migration. It resumes after
a crash and looks whether a target still is what the last run left before it
copies changes onto it.

Disks are read through nbdkit and VMware's VDDK, which has to be obtained from
VMware; see /usr/share/doc/migratekit/manual/vddk.md.`;
export const maintainer = "The migratekit maintainers <migratekit@example.invalid>";

/** @returns {string} the package's path */
export function buildDeb(contents, work, output) {
  const { release } = contents;
  const tree = new Tree(join(work, "deb"), release.epoch);
  layOut(tree, contents);
  describe(tree, release);
  tree.setDates();
  const file = join(output, `migratekit_${release.version}_amd64.deb`);
  runTool("dpkg-deb", [...compression, "--root-owner-group", "--build", tree.root, file], {
    env: { SOURCE_DATE_EPOCH: String(release.epoch) },
  });
  return file;
}

/** One thread: xz on several cuts the data elsewhere. */
const compression = ["-Zxz", "-z2", "--threads-max=1"];

export const units = [
  "migratekit@.service",
  "migratekit@.timer",
  "migratekit-export.service",
  "migratekit-worker.service",
];

/** What a package has in its place on every distribution. */
export function layOutShared(tree, { release, manual, licences, sbom }) {
  tree.copy("usr/bin/migratekit", release.executable, 0o755);
  for (const unit of units) {
    tree.copy(`usr/lib/systemd/system/${unit}`, join(files, unit));
  }
  const stop = "stop-when-cut-over";
  tree.copy(`usr/lib/migratekit/${stop}`, join(files, stop), 0o755);
  tree.copy("etc/migratekit/config.yaml", join(files, "config.yaml"));
  tree.folder("etc/migratekit/vms");
  tree.folder("etc/migratekit/credentials", 0o700);
  tree.folder("var/lib/migratekit", 0o700);
  for (const [name, page] of manual.manPages) tree.writeGzipped(`usr/share/man/man1/${name}`, page);
  tree.write("usr/share/bash-completion/completions/migratekit", manual.bash);
  tree.write("usr/share/fish/vendor_completions.d/migratekit.fish", manual.fish);
  tree.copy(`${documentation}/examples/vm.yaml`, join(files, "vm.yaml"));
  tree.copy(`${documentation}/examples/cron`, join(files, "cron"));
  tree.copyAll(`${documentation}/manual`, underRoot("docs"));
  tree.write(`${documentation}/sbom.cdx.json`, sbom);
  tree.writeGzipped(`${documentation}/third-party-licences.txt`, licences);
}

function layOut(tree, contents) {
  layOutShared(tree, contents);
  tree.write("usr/share/zsh/vendor-completions/_migratekit", contents.manual.zsh);
  tree.copy("usr/share/lintian/overrides/migratekit", join(files, "lintian-overrides"));
  tree.copy(`${documentation}/copyright`, join(files, "copyright"));
  tree.writeGzipped(`${documentation}/changelog`, changelog(contents.release));
}

function describe(tree, release) {
  const installed = tree.files();
  const bytes = installed.reduce((sum, path) => sum + statSync(join(tree.root, path)).size, 0);
  const hash = (path) =>
    createHash("md5")
      .update(readFileSync(join(tree.root, path)))
      .digest("hex");
  const sums = installed
    .filter((path) => !path.startsWith("etc/"))
    .map((path) => `${hash(path)}  ${path}\n`);
  tree.write("DEBIAN/control", control(release, Math.ceil(bytes / 1024)));
  tree.write("DEBIAN/md5sums", sums.join(""));
  tree.write("DEBIAN/conffiles", "/etc/migratekit/config.yaml\n");
  for (const script of ["postinst", "prerm", "postrm"]) {
    tree.copy(`DEBIAN/${script}`, join(files, script), 0o755);
  }
}

function control({ version }, installedKibibytes) {
  return `Package: migratekit
Version: ${version}
Architecture: amd64
Maintainer: ${maintainer}
Installed-Size: ${installedKibibytes}
Depends: libc6 (>= 2.28), libnbd0, nbdkit (>= 1.32), adduser
Suggests: nbdkit-plugin-vddk, qemu-system-common, stunnel4
Section: admin
Priority: optional
Description: moves running VMware machines to Apache CloudStack
${description.replaceAll(/^$/gm, ".").replaceAll(/^/gm, " ")}
`;
}

function changelog({ version, commit, epoch }) {
  const date = new Date(epoch * 1000).toUTCString().replace("GMT", "+0000");
  const source = commit ? `commit ${commit.slice(0, 12)}` : "a source archive";
  return `migratekit (${version}) stable; urgency=medium\n\n  * Version ${version}, built from ${source}.\n\n -- ${maintainer}  ${date}\n`;
}
