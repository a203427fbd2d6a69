import assert from "node:assert/strict";
import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { fileURLToPath } from "node:url";

/** Built by `npm test` before these tests; `npm run build` makes it too. */
const executable = fromRoot("dist/migratekit");
const glibcOfNode = [2, 28];

suite("the executable", () => {
  test("names the version of VERSION.txt, the commit, and the parts it works with", () => {
    const { stdout, status } = run(["--version"]);
    const version = readFileSync(fromRoot("VERSION.txt"), "utf8").trim();
    const [first, ...others] = stdout.split("\n");
    assert.equal(status, 0);
    assert.match(
      first ?? "",
      new RegExp(`^migratekit ${version} \\([0-9a-f]{12}(\\+changes)?\\)$`),
    );
    assert.ok(others.includes(`node ${process.versions.node}`), stdout);
    assert.match(stdout, /^libnbd 1\./m);
    assert.match(stdout, /^nbdkit 1\./m);
  });

  test("shows its help", () => {
    const { stdout, stderr, status } = run(["--help"]);
    assert.match(stdout, /^Usage: migratekit/);
    assert.equal(stderr, "");
    assert.equal(status, 0);
  });

  for (const options of ["--require /does/not/exist", "--inspect", "--bogus"]) {
    test(`does not listen to NODE_OPTIONS=${options}`, () => {
      const { stdout, stderr, status } = run(["--help"], { NODE_OPTIONS: options });
      assert.deepEqual({ stdout, stderr, status }, pick(run(["--help"])));
    });
  }

  test("takes Node's own flags for its own, and knows none of them", () => {
    assert.equal(run(["--eval", "process.exit(77)"]).status, 2);
  });

  test("starts without libnbd, and lists what there is", () => {
    const library = "/usr/lib/x86_64-linux-gnu/libnbd.so.0";
    const hidden = spawnSync(
      "unshare",
      [
        "--mount",
        ...(process.getuid?.() === 0 ? [] : ["--map-root-user"]),
        "sh",
        "-c",
        'mount --bind /dev/null "$1" && "$2" --version && exec "$2" --help',
        "sh",
        library,
        executable,
      ],
      { encoding: "utf8" },
    );
    assert.equal(hidden.status, 0, hidden.stderr);
    assert.doesNotMatch(hidden.stdout, /^libnbd/m);
    assert.match(hidden.stdout, /^node /m);
    assert.match(hidden.stdout, /^Usage: migratekit/m);
  });

  test("shows libnbd.so.0 and the progress line to strings(1)", () => {
    const { stdout } = spawnSync("strings", [executable], {
      encoding: "utf8",
      maxBuffer: 2 ** 28,
    });
    const lines = stdout.split("\n");
    assert.ok(lines.includes("libnbd.so.0"));
    assert.ok(lines.some((line) => line.includes("Progress update sent to VMA")));
  });

  test("holds nothing of the machine and folder it was built in", () => {
    assert.equal(readFileSync(executable).includes(fromRoot("")), false);
  });

  test("is built the same, byte for byte, a second time", () => {
    const directory = mkdtempSync(join(tmpdir(), "again-"));
    try {
      const again = join(directory, "migratekit");
      const built = spawnSync(process.execPath, [fromRoot(".ci/build.mjs"), "--output", again]);
      assert.equal(built.status, 0, String(built.stderr));
      assert.ok(readFileSync(again).equals(readFileSync(executable)));
      assert.deepEqual(readdirSync(directory), ["migratekit"]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

suite("the addon", () => {
  const addon = fromRoot("build/Release/migratekit.node");

  test("asks for no newer glibc than Node does", () => {
    const { stdout } = spawnSync("objdump", ["-T", addon], { encoding: "utf8" });
    const versions = [...stdout.matchAll(/GLIBC_(\d+)\.(\d+)/g)].map(([, major, minor]) => [
      Number(major),
      Number(minor),
    ]);
    assert.ok(versions.length > 0);
    const tooNew = versions.filter(([major = 0, minor = 0]) => {
      return major > glibcOfNode[0]! || minor > glibcOfNode[1]!;
    });
    assert.deepEqual(tooNew, []);
  });

  test("needs libnbd and the C library only", () => {
    const { stdout } = spawnSync("objdump", ["-p", addon], { encoding: "utf8" });
    const needed = [...stdout.matchAll(/NEEDED\s+(\S+)/g)].map(([, name]) => name).sort();
    const ofGlibc = ["ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6"];
    assert.deepEqual(needed, [...ofGlibc, "libnbd.so.0"]);
  });
});

function run(args: string[], env: Record<string, string> = {}): SpawnSyncReturns<string> {
  return spawnSync(executable, args, { encoding: "utf8", env: { ...process.env, ...env } });
}

function pick({ stdout, stderr, status }: SpawnSyncReturns<string>): object {
  return { stdout, stderr, status };
}

function fromRoot(path: string): string {
  return fileURLToPath(new URL(`../../${path}`, import.meta.url));
}
