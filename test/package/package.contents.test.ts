// The packages' contents, made around a small stand-in for the executable: what is tested elsewhere.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, suite, test } from "node:test";

const packaging = join(import.meta.dirname, "../../.ci/package");
const folder = mkdtempSync(join(tmpdir(), "package-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Runs in a process of its own: with another umask, zone and language than the next one's. */
const script = `
  import { buildDeb } from "${packaging}/deb.mjs";
  import { buildRpm } from "${packaging}/rpm.mjs";
  import { buildTarball } from "${packaging}/tarball.mjs";
  import { bundledParts } from "${packaging}/bundled-parts.mjs";
  import { licenceTexts } from "${packaging}/licences.mjs";
  import { manualFiles } from "${packaging}/manual.mjs";
  import { billOfMaterials } from "${packaging}/sbom.mjs";
  const [executable, work, output] = process.argv.slice(1);
  process.umask(Number(process.env.UMASK));
  const release = { version: "1.2.3", commit: "c".repeat(40), epoch: 1_700_000_000, executable };
  const parts = await bundledParts();
  const sbom = billOfMaterials(release, parts);
  const licences = licenceTexts(parts);
  const contents = { release, manual: manualFiles(release), licences, sbom };
  console.log(buildDeb(contents, work, output));
  console.log(buildTarball(contents, work, output));
  console.log(buildRpm(contents, work, output));`;

interface Packages {
  deb: string;
  tarball: string;
  rpm: string;
}

function build(name: string, env: Record<string, string>): Packages {
  const output = join(folder, name);
  const work = join(output, "work");
  mkdirSync(work, { recursive: true });
  const args = ["--input-type=module", "-e", script, join(folder, "executable"), work, output];
  const result = spawnSync(process.execPath, args, {
    encoding: "utf8",
    env: { ...process.env, ...env },
  });
  assert.equal(result.status, 0, result.stderr);
  const [deb = "", tarball = "", rpm = ""] = result.stdout.trim().split("\n");
  return { deb, tarball, rpm };
}

function run(command: string, ...args: string[]): string {
  const { stdout, stderr, status } = spawnSync(command, args, { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return stdout;
}

function hashOf(file: string): string {
  return createHash("sha256").update(readFileSync(file)).digest("hex");
}

let first: Packages;
before(() => {
  writeFileSync(join(folder, "executable"), "#!/bin/sh\necho stand-in\n");
  first = build("first", { UMASK: String(0o022), TZ: "UTC", LC_ALL: "C" });
});

test("the same commit gives the same bytes, whatever the umask, time zone and language", () => {
  const second = build("second", {
    UMASK: String(0o077),
    TZ: "Pacific/Auckland",
    LC_ALL: "C.UTF-8",
  });
  assert.equal(hashOf(second.deb), hashOf(first.deb));
  assert.equal(hashOf(second.tarball), hashOf(first.tarball));
  assert.equal(hashOf(second.rpm), hashOf(first.rpm));
});

suite("the Debian package", () => {
  test("has every file in its place, all of them root's, with the right modes", () => {
    const list = run("dpkg-deb", "--contents", first.deb);
    const modes = new Map(
      list.split("\n").map((line) => {
        const [mode, owner, , , , path] = line.split(/\s+/);
        if (line) assert.equal(owner, "root/root", line);
        return [path, mode];
      }),
    );
    const expected = {
      "./usr/bin/migratekit": "-rwxr-xr-x",
      "./usr/lib/systemd/system/migratekit@.service": "-rw-r--r--",
      "./usr/lib/systemd/system/migratekit@.timer": "-rw-r--r--",
      "./usr/lib/systemd/system/migratekit-export.service": "-rw-r--r--",
      "./usr/lib/systemd/system/migratekit-worker.service": "-rw-r--r--",
      "./usr/lib/migratekit/stop-when-cut-over": "-rwxr-xr-x",
      "./usr/share/man/man1/migratekit.1.gz": "-rw-r--r--",
      "./usr/share/man/man1/migratekit-migrate.1.gz": "-rw-r--r--",
      "./usr/share/man/man1/migratekit-completion.1.gz": "-rw-r--r--",
      "./usr/share/bash-completion/completions/migratekit": "-rw-r--r--",
      "./usr/share/zsh/vendor-completions/_migratekit": "-rw-r--r--",
      "./usr/share/fish/vendor_completions.d/migratekit.fish": "-rw-r--r--",
      "./usr/share/doc/migratekit/sbom.cdx.json": "-rw-r--r--",
      "./usr/share/doc/migratekit/third-party-licences.txt.gz": "-rw-r--r--",
      "./usr/share/doc/migratekit/manual/install.md": "-rw-r--r--",
      "./usr/share/doc/migratekit/manual/performance/full-copy.svg": "-rw-r--r--",
      "./usr/share/doc/migratekit/examples/cron": "-rw-r--r--",
      "./etc/migratekit/config.yaml": "-rw-r--r--",
      "./etc/migratekit/credentials/": "drwx------",
      "./var/lib/migratekit/": "drwx------",
    };
    for (const [path, mode] of Object.entries(expected)) assert.equal(modes.get(path), mode, path);
  });

  test("asks for what the program needs, and dpkg knows its one settings file", () => {
    const field = (name: string) => run("dpkg-deb", "--field", first.deb, name);
    assert.match(field("Depends"), /\blibnbd0\b.*\bnbdkit\b/);
    assert.match(field("Suggests"), /nbdkit-plugin-vddk/);
    const control = join(folder, "control");
    run("dpkg-deb", "--control", first.deb, control);
    assert.equal(readFileSync(join(control, "conffiles"), "utf8"), "/etc/migratekit/config.yaml\n");
    for (const name of ["postinst", "prerm", "postrm"]) run("sh", "-n", join(control, name));
  });

  test("brings sums that fit its files", () => {
    const tree = join(folder, "tree");
    run("dpkg-deb", "--raw-extract", first.deb, tree);
    const check = spawnSync("md5sum", ["--check", "--quiet", "DEBIAN/md5sums"], { cwd: tree });
    assert.equal(check.status, 0, String(check.stdout));
  });
});

suite("the RPM", () => {
  /** As an unprivileged user, too: rpm changes its root, and makes files root's. */
  const asRoot = process.getuid?.() === 0 ? [] : ["unshare", "--map-root-user"];
  const rpm = (...args: string[]) => {
    const [command = "", ...rest] = [...asRoot, "rpm", ...args];
    return run(command, ...rest);
  };

  test("has the Debian package's files, root's, with the same modes", () => {
    const format = "[%{FILEMODES:perms} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILENAMES}\n]";
    const listed = rpm("-qp", "--queryformat", format, first.rpm).trim().split("\n");
    const files = new Map(listed.map((line) => [line.split(" ")[2]!, line]));
    const foreign = /doc\/migratekit\/(copyright|changelog)|lintian|vendor-completions\/_/;
    const list = run("dpkg-deb", "--contents", first.deb).trim().split("\n");
    const own = list.filter((line) => line.startsWith("-") && !foreign.test(line));
    assert.ok(own.length > 30);
    for (const line of own) {
      const [mode, , , , , path = ""] = line.split(/\s+/);
      assert.equal(files.get(path.slice(1)), `${mode} root:root ${path.slice(1)}`);
    }
    assert.match(files.get("/etc/migratekit/credentials")!, /^drwx------ root:root /);
    assert.match(files.get("/var/lib/migratekit")!, /^drwx------ migratekit:migratekit /);
    assert.ok(files.has("/usr/share/zsh/site-functions/_migratekit"));
    assert.equal(rpm("-qp", "--configfiles", first.rpm), "/etc/migratekit/config.yaml\n");
  });

  test("asks for what the program needs, in a form that EL 8 reads, and its scripts are well-formed", () => {
    const needs = rpm("-qp", "--requires", first.rpm);
    assert.match(needs, /^libnbd\.so\.0\(LIBNBD_1\.12\)\(64bit\)$/m);
    assert.match(needs, /^\(nbdkit-server >= 1\.32 or nbdkit >= 1\.32\)$/m);
    assert.doesNotMatch(needs, /Zstd/);
    for (const kind of ["PREIN", "POSTIN", "PREUN", "POSTUN"]) {
      const path = join(folder, kind);
      writeFileSync(path, rpm("-qp", "--queryformat", `%{${kind}}`, first.rpm));
      run("sh", "-n", path);
      assert.ok(readFileSync(path, "utf8").length > 20, kind);
    }
    const lint = spawnSync(
      "rpmlint",
      ["--config", join(packaging, "files/rpmlint.toml"), first.rpm],
      {
        encoding: "utf8",
      },
    );
    const said = lint.stdout.split("\n").filter((line) => /^migratekit\S*: [EW]: /.test(line));
    // The stand-in for the executable is a script, and small beside the manual.
    const ofStandIn = /: no-binary$|: package-with-huge-docs/;
    assert.deepEqual(
      said.filter((line) => !ofStandIn.test(line)),
      [],
    );
    assert.match(lint.stdout, /packages: 1/);
  });

  test("is installed into a root, verifies there, and is removed without a trace but settings", () => {
    const root = join(folder, "rpm-root");
    mkdirSync(root);
    // The scripts need a shell and an account's tools in there; what they do, dpkg's do, too.
    const into = ["--root", root, "--nodeps", "--noscripts"];
    rpm("--install", ...into, first.rpm);
    assert.match(run(join(root, "usr/bin/migratekit")), /stand-in/);
    assert.equal(rpm("--verify", ...into, "--nouser", "--nogroup", "migratekit"), "");
    writeFileSync(join(root, "etc/migratekit/config.yaml"), "changed: true\n");
    rpm("--erase", ...into, "migratekit");
    const left = run("find", root, "-name", "*migratekit*").trim().split("\n");
    assert.deepEqual(
      left.map((path) => path.slice(root.length)),
      ["/etc/migratekit"],
    );
    const saved = join(root, "etc/migratekit/config.yaml.rpmsave");
    assert.equal(readFileSync(saved, "utf8"), "changed: true\n");
  });
});

test("the tarball is one folder, and its list of sums covers every file", () => {
  run("tar", "-xf", first.tarball, "-C", folder);
  const tree = join(folder, "migratekit-1.2.3-linux-x64");
  const check = spawnSync("sha256sum", ["--check", "--quiet", "SHA256SUMS"], { cwd: tree });
  assert.equal(check.status, 0, String(check.stderr));
  const listed = readFileSync(join(tree, "SHA256SUMS"), "utf8").trim().split("\n").length;
  const present = run("find", tree, "-type", "f").trim().split("\n").length;
  assert.equal(listed, present - 1);
});

test("every link in the tarball and in the Debian package's manual leads to what is in it", () => {
  const folders = [
    join(folder, "migratekit-1.2.3-linux-x64"),
    join(folder, "tree/usr/share/doc/migratekit/manual"),
  ];
  for (const top of folders) {
    const pages = run("find", top, "-name", "*.md").trim().split("\n");
    assert.ok(pages.length > 10, top);
    for (const page of pages) {
      for (const [, link] of readFileSync(page, "utf8").matchAll(/\]\(([^)#\s]+)[^)]*\)/g)) {
        if (link!.includes("://")) continue;
        assert.ok(existsSync(join(dirname(page), link!)), `${page} links ${link}`);
      }
    }
  }
});

test("both packages, package.json and the licence's text name one licence", () => {
  const root = join(packaging, "../..");
  const text = readFileSync(join(root, "LICENSE"), "utf8");
  assert.match(text, /^\s+Apache License\n\s+Version 2\.0, January 2004\n/);
  assert.match(text, /END OF TERMS AND CONDITIONS/);
  const about = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { license: string };
  assert.equal(about.license, "Apache-2.0");
  const tarball = join(folder, "migratekit-1.2.3-linux-x64");
  assert.equal(readFileSync(join(tarball, "LICENSE"), "utf8"), text);
  for (const copyright of [
    join(tarball, "copyright"),
    join(folder, "tree/usr/share/doc/migratekit/copyright"),
  ])
    assert.match(readFileSync(copyright, "utf8"), /^Files: \*\n.*\nLicense: Apache-2\.0$/m);
});

suite("what is said of the software inside", () => {
  const names = Object.keys(
    (
      JSON.parse(readFileSync(join(packaging, "../../package.json"), "utf8")) as {
        dependencies: Record<string, string>;
      }
    ).dependencies,
  );
  const tree = () => join(folder, "migratekit-1.2.3-linux-x64");

  test("the bill of materials names every part with version, licence and hash, each once", () => {
    interface Component {
      name: string;
      version?: string;
      "bom-ref": string;
      licenses: unknown[];
      hashes?: { alg: string; content: string }[];
    }
    const bom = JSON.parse(readFileSync(join(tree(), "sbom.cdx.json"), "utf8")) as {
      bomFormat: string;
      components: Component[];
      dependencies: { ref: string; dependsOn: string[] }[];
      metadata: { component: { "bom-ref": string } };
    };
    assert.equal(bom.bomFormat, "CycloneDX");
    const refs = bom.components.map((component) => component["bom-ref"]);
    assert.equal(new Set(refs).size, refs.length);
    for (const name of [...names, "node", "openssl", "v8", "libnbd", "nbdkit"]) {
      const found = bom.components.find((component) => component.name === name);
      assert.ok(found, name);
      assert.equal(found.licenses.length, 1);
      if (names.includes(name)) assert.match(found.hashes?.[0]?.content ?? "", /^[0-9a-f]{128}$/);
    }
    const known = new Set([...refs, bom.metadata.component["bom-ref"]]);
    const mentioned = bom.dependencies.flatMap(({ ref, dependsOn }) => [ref, ...dependsOn]);
    assert.deepEqual(
      mentioned.filter((ref) => !known.has(ref)),
      [],
    );
  });

  test("the licences of every part are there in full", () => {
    const text = readFileSync(join(tree(), "third-party-licences.txt"), "utf8");
    for (const name of names) assert.match(text, new RegExp(`\\n=+\\n${name} [0-9.]+\\n=+\\n\\n`));
    assert.match(text, /Copyright Node\.js contributors/);
    assert.match(text, /GCC Runtime Library Exception/);
  });
});

test("the unit holds no secret, and only what disables its timer runs as root", () => {
  const unit = readFileSync(join(packaging, "files/migratekit@.service"), "utf8");
  assert.match(unit, /^LoadCredential=vmware-password:\/etc\/migratekit\/credentials\/%i$/m);
  assert.match(unit, /^User=migratekit$/m);
  assert.match(unit, /^CapabilityBoundingSet=$/m);
  assert.deepEqual(unit.match(/^Exec\w+=[+!].*$/gm), [
    "ExecStopPost=+/usr/lib/migratekit/stop-when-cut-over %i /etc/migratekit/vms/%i.yaml",
  ]);
  assert.doesNotMatch(unit, /--vmware-password|MIGRATEKIT_VMWARE_PASSWORD=/);
  const exporting = readFileSync(join(packaging, "files/migratekit-export.service"), "utf8");
  assert.match(
    exporting,
    /^LoadCredential=cloudstack-secret-key:\/etc\/migratekit\/credentials\/export$/m,
  );
  assert.match(exporting, /^User=migratekit$/m);
  assert.match(exporting, /^CapabilityBoundingSet=$/m);
  assert.doesNotMatch(exporting, /^Exec\w+=[+!]|--cloudstack-secret|SECRET_KEY=/m);
});
