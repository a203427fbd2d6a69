import assert from "node:assert/strict";
import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, suite, test } from "node:test";
import { fileURLToPath } from "node:url";

const scripts = fileURLToPath(new URL("../../.ci", import.meta.url));
const isRoot = process.getuid?.() === 0;
/** The user "nobody". */
const nobody = 65534;

suite("set-up without nbdkit and the others", () => {
  let clone: string;

  beforeEach(() => {
    clone = mkdtempSync(join(tmpdir(), "clone-"));
    cpSync(scripts, join(clone, ".ci"), { recursive: true });
    mkdirSync(join(clone, "bin"));
    // All that is left of the system's commands; sudo is not among them.
    for (const name of ["flock", "env"]) symlinkSync(`/usr/bin/${name}`, join(clone, "bin", name));
    for (const [name, text] of [
      ["fedora", 'ID=fedora\nVERSION_ID=42\nPRETTY_NAME="Fedora Linux 42"\n'],
      ["debian", 'ID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n'],
      ["old", 'ID=debian\nVERSION_ID="11"\nPRETTY_NAME="Debian GNU/Linux 11 (bullseye)"\n'],
    ] as const) {
      writeFileSync(join(clone, name), text);
    }
    writeFileSync(join(clone, "bin/node"), ""); // see setUpOn
    chmodSync(clone, 0o777);
  });
  afterEach(() => rmSync(clone, { recursive: true }));

  for (const [release, name] of [
    ["fedora", "Fedora Linux 42"],
    ["old", "Debian GNU/Linux 11 (bullseye)"],
  ] as const) {
    test(`names what is missing on ${name}`, () => {
      const { status, stderr } = setUpOn(release);
      assert.equal(status, 1);
      assert.ok(stderr.includes(`this is ${name}.`), stderr);
      assert.match(stderr, /^ {2}nbdkit: serves the source disk/m);
      assert.match(stderr, /^ {2}golang-go: /m);
    });
  }

  test("prints the command when it may not install", () => {
    const { status, stderr } = setUpOn("debian", { asUser: true });
    assert.equal(status, 1);
    assert.match(
      stderr,
      /^ {2}sudo apt-get update && sudo apt-get install --yes --no-install-recommends .*\bnbdkit nbd-server\b/m,
    );
  });

  test("asks only for what the given groups need", () => {
    const { stderr } = setUpOn("fedora", { flags: [] });
    assert.match(stderr, /^ {2}make: /m);
    assert.doesNotMatch(stderr, /nbdkit/);
  });

  test("names an unknown flag", () => {
    const { status, stderr } = setUpOn("debian", { flags: ["--tset"] });
    assert.equal(status, 1);
    assert.match(stderr, /Unknown flag --tset; known: --lab/);
  });

  /**
   * With another os-release, in a mount namespace of its own, where the clone and Node are at a
   * place that every user can reach.
   */
  function setUpOn(
    release: string,
    { asUser = false, flags = ["--test"] }: { asUser?: boolean; flags?: string[] } = {},
  ): SpawnSyncReturns<string> {
    const user =
      asUser && isRoot
        ? ["setpriv", `--reuid=${nobody}`, `--regid=${nobody}`, "--clear-groups"]
        : [];
    return spawnSync(
      "unshare",
      [
        "--mount",
        ...(isRoot ? [] : ["--map-user=1"]),
        "sh",
        "-c",
        `mount --bind "$1/$2" /etc/os-release && mount --bind "$1" /mnt &&
          mount --bind "$3" /mnt/bin/node && shift 3 && exec "$@"`,
        "sh",
        clone,
        release,
        process.execPath,
        ...user,
        "env",
        "PATH=/mnt/bin",
        "node",
        "/mnt/.ci/setup.mjs",
        ...flags,
      ],
      { encoding: "utf8" },
    );
  }
});
