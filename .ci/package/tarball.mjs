/** The tarball for machines without dpkg: the same files in one folder, with a list of their sums. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { underRoot } from "../setup/run.mjs";
import { units } from "./deb.mjs";
import { runTool } from "./run-tool.mjs";
import { Tree } from "./tree.mjs";

const files = underRoot(".ci/package/files");

/** @returns {string} the tarball's path */
export function buildTarball(contents, work, output) {
  const { release } = contents;
  const name = `migratekit-${release.version}-linux-x64`;
  const tree = new Tree(join(work, name), release.epoch);
  layOut(tree, contents);
  tree.write("SHA256SUMS", sums(tree));
  tree.setDates();
  const archive = join(work, `${name}.tar`);
  runTool("tar", [...reproducible(release.epoch), "-cf", archive, name], { cwd: work });
  runTool("gzip", ["-9n", archive]);
  const file = join(output, `${basename(archive)}.gz`);
  runTool("cp", [`${archive}.gz`, file]);
  return file;
}

function layOut(tree, { release, manual, licences, sbom }) {
  tree.copy("bin/migratekit", release.executable, 0o755);
  for (const [name, page] of manual.manPages) {
    tree.writeGzipped(`share/man/man1/${name}`, page);
  }
  tree.write("share/bash-completion/completions/migratekit", manual.bash);
  tree.write("share/zsh/site-functions/_migratekit", manual.zsh);
  tree.write("share/fish/vendor_completions.d/migratekit.fish", manual.fish);
  for (const unit of units) {
    tree.copy(`lib/systemd/system/${unit}`, join(files, unit));
  }
  tree.copy("etc/migratekit/config.yaml", join(files, "config.yaml"));
  tree.copy("examples/vm.yaml", join(files, "vm.yaml"));
  tree.copy("examples/cron", join(files, "cron"));
  tree.copyAll("manual", underRoot("docs"));
  tree.write("README.md", readmeBesideManual(readFileSync(underRoot("README.md"), "utf8")));
  tree.copy("LICENSE", underRoot("LICENSE"));
  tree.copy("copyright", join(files, "copyright"));
  tree.write("third-party-licences.txt", licences);
  tree.write("sbom.cdx.json", sbom);
}

/** Here the manual lies in a folder of another name, and the sources are not there. */
function readmeBesideManual(text) {
  return text
    .replaceAll("](docs/", "](manual/")
    .replaceAll("[CONTRIBUTING.md](CONTRIBUTING.md)", "CONTRIBUTING.md of the sources");
}

function sums(tree) {
  return tree
    .files()
    .map((path) => {
      const content = readFileSync(join(tree.root, path));
      return `${createHash("sha256").update(content).digest("hex")}  ${path}\n`;
    })
    .join("");
}

function reproducible(epoch) {
  return [
    "--format=ustar",
    "--sort=name",
    "--owner=root:0",
    "--group=root:0",
    "--numeric-owner",
    `--mtime=@${epoch}`,
  ];
}
