// Compiles the stand-in libvixDiskLib. Plain Node >= 20, no dependencies:
//   node build.mjs [OUTPUT]   default .lab/vddk/lib64/libvixDiskLib.so.8
// The number is the newest soname that the plugin of Debian 13 (nbdkit 1.42) looks for; it looks
// in LIBDIR/lib64 first, so the folder above lib64 is a complete --vddk-libdir.
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, renameSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const output = resolve(
  process.argv[2] ?? join(here, "../../../.lab/vddk/lib64/libvixDiskLib.so.8"),
);
const inputs = readdirSync(here).filter((name) => /\.[ch]$/.test(name));
const sources = inputs.filter((name) => name.endsWith(".c"));

function modifiedAt(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function compile() {
  mkdirSync(dirname(output), { recursive: true });
  // Renamed into place: a running nbdkit keeps the file that it has mapped.
  const partial = `${output}.${process.pid}.partial`;
  const flags = "-std=c11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -fPIC -shared -fvisibility=hidden";
  const result = spawnSync(
    "cc",
    [
      ...flags.split(" "),
      "-pthread",
      "-Wl,-soname,libvixDiskLib.so.8",
      ...["-o", partial],
      ...sources,
    ],
    { cwd: here, stdio: "inherit" },
  );
  if (result.status !== 0) {
    console.error(`Could not compile ${output}: ${result.error?.message ?? "cc failed"}`);
    process.exit(1);
  }
  renameSync(partial, output);
}

const newest = Math.max(...[...inputs, "build.mjs"].map((name) => modifiedAt(join(here, name))));
if (modifiedAt(output) <= newest) compile();
