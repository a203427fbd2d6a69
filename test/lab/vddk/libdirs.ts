// Directories as operators have them when VDDK does not load: for `--vddk-libdir`.

import { execFile } from "node:child_process";
import { copyFile, mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { builtLibrary } from "./install.ts";

const run = promisify(execFile);

async function lib64Of(libdir: string): Promise<string> {
  const lib64 = join(libdir, "lib64");
  await mkdir(lib64, { recursive: true });
  return lib64;
}

/** A library that loads, under the name of another version than the plugin looks for. */
export async function libdirOfVersion(libdir: string, version: number): Promise<string> {
  await copyFile(builtLibrary, join(await lib64Of(libdir), `libvixDiskLib.so.${version}`));
  return libdir;
}

/** libvixDiskLib.so.8 needs `library`, which is nowhere, or left behind as a link into nothing. */
export async function libdirThatNeeds(
  libdir: string,
  library: string,
  left: "nothing" | "link" = "nothing",
): Promise<string> {
  const lib64 = await lib64Of(libdir);
  const needed = join(lib64, library);
  const [none, user] = [join(libdir, "none.c"), join(libdir, "user.c")];
  await writeFile(none, "int lab_needed (void) { return 1; }\n");
  await writeFile(user, "int lab_needed (void);\nint lab_user (void) { return lab_needed (); }\n");
  const shared = ["-shared", "-fPIC"];
  await run("cc", [...shared, `-Wl,-soname,${library}`, "-o", needed, none]);
  await run("cc", [...shared, "-o", join(lib64, "libvixDiskLib.so.8"), user, needed]);
  await rm(needed);
  if (left === "link") await symlink(`${library}.0.0`, needed);
  return libdir;
}

/** libvixDiskLib.so.8 is a link whose target was not copied along. */
export async function libdirOfLink(libdir: string): Promise<string> {
  await symlink("libvixDiskLib.so.8.0.3", join(await lib64Of(libdir), "libvixDiskLib.so.8"));
  return libdir;
}
