/** The RPM for EL 8 and 9 and openSUSE, made by rpmbuild from the same files as the Debian package. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { underRoot } from "../setup/run.mjs";
import { description, layOutShared, maintainer } from "./deb.mjs";
import { runTool } from "./run-tool.mjs";
import { Tree } from "./tree.mjs";

const licence = "usr/share/licenses/migratekit/LICENSE";

/** @returns {string} the package's path */
export function buildRpm(contents, work, output) {
  const { release } = contents;
  const tree = new Tree(join(work, "rpm"), release.epoch);
  layOutShared(tree, contents);
  tree.write("usr/share/zsh/site-functions/_migratekit", contents.manual.zsh);
  tree.copy(licence, underRoot("LICENSE"));
  tree.setDates();
  const top = join(work, "rpmbuild");
  mkdirSync(top);
  const specification = join(top, "migratekit.spec");
  writeFileSync(specification, specificationOf(release, tree));
  const settings = { ...fixed, _topdir: top, _rpmdir: output };
  const defines = Object.entries(settings).flatMap((entry) => ["--define", entry.join(" ")]);
  runTool("rpmbuild", ["-bb", "--quiet", "--target", "x86_64-linux", ...defines, specification], {
    // It makes a database in its home.
    env: { HOME: work, SOURCE_DATE_EPOCH: String(release.epoch) },
  });
  return join(output, `migratekit-${release.version}-1.x86_64.rpm`);
}

/** The same bytes everywhere; a payload that EL 8's rpm can read; the executable as it is. */
const fixed = {
  _rpmfilename: "%{name}-%{version}-%{release}.%{arch}.rpm",
  _binary_payload: "w2.xzdio",
  _buildhost: "localhost",
  use_source_date_epoch_as_buildtime: "1",
  clamp_mtime_to_source_date_epoch: "1",
  debug_package: "%{nil}",
  _build_id_links: "none",
  __os_install_post: "%{nil}",
};

function specificationOf({ version, commit, epoch }, tree) {
  const source = commit ? `commit ${commit.slice(0, 12)}` : "a source archive";
  const [day, date, month, year] = new Date(epoch * 1000).toUTCString().split(/,? /);
  return `Name: migratekit
Version: ${version}
Release: 1
Summary: Moves running VMware machines to Apache CloudStack
License: Apache-2.0
Group: System/Management
Packager: ${maintainer}
URL: https://example.invalid/migratekit
BuildArch: x86_64
AutoReqProv: no
Requires: libc.so.6(GLIBC_2.28)(64bit)
Requires: libnbd.so.0(LIBNBD_1.12)(64bit)
Requires: (nbdkit-server >= 1.32 or nbdkit >= 1.32)
Requires(pre): /usr/sbin/useradd
Recommends: nbdkit-vddk-plugin
Suggests: stunnel

%description
${description}

%install
cp -a ${tree.root}/. %{buildroot}

%pre
${scripts.pre}
%post
${scripts.post}
%preun
${scripts.preun}
%postun
${scripts.postun}
%files
${filesOf(tree).join("\n")}

%changelog
* ${day} ${month} ${date} ${year} ${maintainer} - ${version}-1
- Version ${version}, built from ${source}.
`;
}

/** Every file, and the folders that are this package's own. */
function filesOf(tree) {
  const own = {
    "%dir %attr(0755,root,root)": [
      ...["etc/migratekit", "etc/migratekit/vms", "usr/lib/migratekit"],
      dirname(licence),
    ],
    "%dir %attr(0700,root,root)": ["etc/migratekit/credentials"],
    "%dir %attr(0700,migratekit,migratekit)": ["var/lib/migratekit"],
  };
  const folders = Object.entries(own).flatMap(([attributes, paths]) =>
    paths.map((path) => `${attributes} /${path}`),
  );
  const files = tree.files().filter((path) => !path.startsWith("usr/share/doc/"));
  return [...folders, "%doc /usr/share/doc/migratekit", ...files.map(lineOf)];
}

function lineOf(path) {
  const mode = path.startsWith("usr/bin/") || path.startsWith("usr/lib/migratekit/") ? 755 : 644;
  const kind = { [licence]: "%license ", "etc/migratekit/config.yaml": "%config(noreplace) " };
  return `${kind[path] ?? ""}%attr(0${mode},root,root) /${path}`;
}

const reload = "if [ -d /run/systemd/system ]; then systemctl daemon-reload >/dev/null || :; fi\n";

/** As the Debian package's; an upgrade runs them with 1 for "one stays". */
const scripts = {
  pre: `getent group migratekit >/dev/null || groupadd -r migratekit
getent passwd migratekit >/dev/null || useradd -r -g migratekit -d /var/lib/migratekit \\
  -s /sbin/nologin -c migratekit migratekit
`,
  post: `${handOver()}${reload}`,
  preun: `if [ "$1" = 0 ] && [ -d /run/systemd/system ]; then
  systemctl stop 'migratekit@*.timer' 'migratekit@*.service' migratekit-export.service migratekit-worker.service || :
  systemctl reset-failed 'migratekit@*.timer' 'migratekit@*.service' migratekit-export.service migratekit-worker.service || :
fi
`,
  postun: reload,
};

/** A state directory that root has used before the package came, as the Debian package hands it over. */
function handOver() {
  const postinst = readFileSync(underRoot(".ci/package/files/postinst"), "utf8");
  const lines = postinst.split("\n");
  const from = lines.findIndex((line) => line.includes("stat -c %u"));
  return `${lines.slice(from, from + 4).join("\n")}\n`;
}
