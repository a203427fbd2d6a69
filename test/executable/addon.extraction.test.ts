import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, suite, test } from "node:test";
import { fileURLToPath } from "node:url";

const addonPath = fileURLToPath(new URL("../../build/Release/migratekit.node", import.meta.url));
const loader = fileURLToPath(new URL("load-addon.ts", import.meta.url));
const addon = readFileSync(addonPath);

interface Outcome {
  /** What the loaded addon says; absent when it could not be loaded. */
  libnbd?: string;
  error?: string;
}

suite("the addon inside a single executable", { concurrency: false }, () => {
  let base: string;
  const at = (...parts: string[]): string => join(base, ...parts);

  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), "extraction-"));
    mkdirSync(at("tmp"));
  });
  afterEach(() => rmSync(base, { recursive: true, force: true }));

  test("is put into a private directory under its hash, loaded, and found there again", async () => {
    assert.match((await load([at("a", "cache")])).libnbd ?? "", /^1\./);
    const [name = "", ...others] = readdirSync(at("a", "cache"));
    assert.deepEqual(others, []);
    assert.match(name, /^[0-9a-f]{64}\.node$/);
    assert.equal(statSync(at("a", "cache")).mode & 0o777, 0o700);
    const before = statSync(at("a", "cache", name));
    assert.equal(before.mode & 0o777, 0o500);
    assert.ok((await load([at("a", "cache")])).libnbd);
    assert.equal(statSync(at("a", "cache", name)).ino, before.ino);
  });

  for (const [what, spoil] of [
    ["changed in one byte", (file: string) => spoilByte(file)],
    ["cut short", (file: string) => writeFileSync(file, addon.subarray(0, 4096))],
    ["writable by others", (file: string) => chmodSync(file, 0o777)],
  ] as const) {
    test(`is written again when the file found is ${what}`, async () => {
      await load([at("cache")]);
      const file = at("cache", readdirSync(at("cache"))[0] ?? "");
      chmodSync(file, 0o700);
      spoil(file);
      assert.ok((await load([at("cache")])).libnbd);
      assert.deepEqual(readFileSync(file), addon);
      assert.equal(statSync(file).mode & 0o777, 0o500);
    });
  }

  test("does not follow a symbolic link that stands in its place", async () => {
    await load([at("cache")]);
    const name = readdirSync(at("cache"))[0] ?? "";
    rmSync(at("cache", name));
    writeFileSync(at("victim"), addon);
    symlinkSync(at("victim"), at("cache", name));
    assert.ok((await load([at("cache")])).libnbd);
    assert.ok(statSync(at("victim")).ino !== statSync(at("cache", name)).ino);
  });

  for (const [what, prepare] of [
    ["others can enter", makeOpenDirectory],
    ["is a symbolic link", (path: string) => symlinkSync(tmpdir(), path)],
    ["is a file", (path: string) => writeFileSync(path, "")],
  ] as const) {
    test(`goes elsewhere when the directory ${what}`, async () => {
      prepare(at("cache"));
      assert.ok((await load([at("cache"), at("next")])).libnbd);
      assert.equal(readdirSync(at("next")).length, 1);
    });
  }

  test("goes elsewhere when the directory belongs to somebody else", async (t) => {
    if (process.getuid?.() !== 0) {
      // Every directory that is not one's own will do, and / is root's.
      assert.ok((await load(["/", at("next")])).libnbd);
      return;
    }
    mkdirSync(at("cache"), { mode: 0o700 });
    chownSync(at("cache"), 65534, 65534);
    assert.ok((await load([at("cache"), at("next")])).libnbd, t.name);
    assert.deepEqual(readdirSync(at("cache")), []);
  });

  test("goes elsewhere when the directory's file system forbids executing", async () => {
    mkdirSync(at("noexec"), { mode: 0o700 });
    const outcome = await load([at("noexec", "cache"), at("next")], {
      mount: { options: "noexec", on: at("noexec") },
    });
    assert.ok(outcome.libnbd, outcome.error);
    assert.equal(readdirSync(at("next")).length, 1);
  });

  test("comes from a temporary directory that is gone at once when nothing else will do", async () => {
    writeFileSync(at("file"), "");
    assert.ok((await load([at("file", "cache")])).libnbd);
    assert.deepEqual(readdirSync(at("tmp")), []);
  });

  test("names every directory and reason when none will do", async () => {
    writeFileSync(at("file"), "");
    const outcome = await load([at("file", "cache")], {
      mount: { options: "noexec", on: at("tmp") },
    });
    assert.match(outcome.error ?? "", /file\/cache.*; .*failed to map segment/);
  });

  test("is not tried elsewhere when it is the addon itself that cannot be loaded", async () => {
    writeFileSync(at("broken.node"), "not a library");
    const outcome = await load([at("cache"), at("next")], { image: at("broken.node") });
    assert.match(outcome.error ?? "", /file too short|invalid ELF header/);
    assert.throws(() => readdirSync(at("next")), /ENOENT/);
  });

  test("is loaded by runs that start at the same time, and they leave one file", async () => {
    const outcomes = await Promise.all(Array.from({ length: 8 }, () => load([at("cache")])));
    for (const { libnbd, error } of outcomes) assert.ok(libnbd, error);
    assert.equal(readdirSync(at("cache")).length, 1);
  });

  interface LoadOptions {
    image?: string;
    /** A file system of this process's own, gone with it. */
    mount?: { options: string; on: string };
  }

  /** In a process of its own, because a library once loaded stays loaded. */
  async function load(directories: string[], options: LoadOptions = {}): Promise<Outcome> {
    const args = [loader, options.image ?? addonPath, ...directories];
    const env = { ...process.env, TMPDIR: at("tmp") };
    const child = options.mount
      ? spawn(
          "unshare",
          [
            "--mount",
            ...(process.getuid?.() === 0 ? [] : ["--map-root-user"]),
            "sh",
            "-c",
            'mount -t tmpfs -o "$1",mode=700 none "$2" && shift 2 && exec "$@"',
            "sh",
            options.mount.options,
            options.mount.on,
            process.execPath,
            ...args,
          ],
          { env, stdio: ["ignore", "pipe", "inherit"] },
        )
      : spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (piece) => {
      text += piece;
    });
    const [status] = await once(child, "close");
    assert.equal(status, 0);
    return JSON.parse(text) as Outcome;
  }
});

function makeOpenDirectory(path: string): void {
  mkdirSync(path);
  chmodSync(path, 0o755); // whatever the umask
}

function spoilByte(file: string): void {
  const bytes = readFileSync(file);
  bytes[bytes.length >> 1]! ^= 1;
  writeFileSync(file, bytes);
}
