/**
 * Loads the addon that a single executable carries inside. The dynamic linker wants a file, so the
 * addon is written once into a private directory, under a name made from its contents, and found
 * there by later runs. Nobody else may have had a hand in what is loaded: a directory that others
 * can enter is not used, and a file that is not byte for byte the addon is replaced.
 */
import { createHash, randomBytes } from "node:crypto";
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { hasSystemCode, messageOf } from "../../errors.ts";

/**
 * Tries the directories in order, then a temporary one that is removed at once: where a directory
 * cannot be written, is not private or forbids executing, the next one is taken.
 * @throws the dynamic linker's error if the addon itself cannot be loaded (libnbd is missing), or an
 *   Error that names every directory and why it was not used.
 */
export function loadEmbeddedAddon(
  image: Uint8Array,
  directories: readonly string[] = cacheDirectories(),
): unknown {
  const refusals: string[] = [];
  for (const directory of directories) {
    try {
      return load(placeIn(directory, image));
    } catch (error) {
      if (error instanceof LoadError && !forbidsExecuting(error)) throw error.cause;
      refusals.push(messageOf(error));
    }
  }
  return loadFromTemporary(image, refusals);
}

/** Not from the environment: what is loaded as code should not follow a variable. */
export function cacheDirectories(): string[] {
  const uid = process.geteuid?.() ?? 0;
  return uid === 0
    ? ["/var/cache/migratekit", "/run/migratekit"]
    : [join(homedir(), ".cache/migratekit"), `/run/user/${uid}/migratekit`];
}

function loadFromTemporary(image: Uint8Array, refusals: readonly string[]): unknown {
  let directory: string | undefined;
  try {
    directory = mkdtempSync(join(tmpdir(), "migratekit-"));
    return load(placeIn(directory, image));
  } catch (error) {
    if (error instanceof LoadError && !forbidsExecuting(error)) throw error.cause;
    throw new Error(
      `no directory is fit to hold the addon: ${[...refusals, messageOf(error)].join("; ")}`,
    );
  } finally {
    // What is mapped stays mapped.
    if (directory) rmSync(directory, { recursive: true, force: true });
  }
}

class LoadError extends Error {
  constructor(cause: unknown) {
    super(messageOf(cause), { cause });
  }
}

function load(file: string): unknown {
  const module = { exports: {} };
  try {
    process.dlopen(module, file);
  } catch (error) {
    throw new LoadError(error);
  }
  return module.exports;
}

/** glibc's words for a file system mounted noexec, and for a policy that says the same. */
function forbidsExecuting(error: LoadError): boolean {
  return error.message.includes("failed to map segment");
}

function placeIn(directory: string, image: Uint8Array): string {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  checkPrivate(directory);
  const name = `${createHash("sha256").update(image).digest("hex")}.node`;
  const file = join(directory, name);
  if (!holds(file, image)) replace(directory, name, image);
  return file;
}

function checkPrivate(directory: string): void {
  const found = lstatSync(directory);
  if (!found.isDirectory()) throw new Error(`${directory} is not a directory`);
  if (found.uid !== process.geteuid?.()) throw new Error(`${directory} belongs to another user`);
  if ((found.mode & 0o077) !== 0) throw new Error(`${directory} is open to other users`);
}

function holds(file: string, image: Uint8Array): boolean {
  try {
    const found = lstatSync(file);
    const ours = found.isFile() && found.uid === process.geteuid?.() && (found.mode & 0o022) === 0;
    return ours && found.size === image.length && readFileSync(file).equals(image);
  } catch (error) {
    if (hasSystemCode(error, "ENOENT", "EACCES")) return false;
    throw error;
  }
}

/** By renaming, so that runs that start at the same time each find nothing or a whole file. */
function replace(directory: string, name: string, image: Uint8Array): void {
  const partial = join(directory, `.${name}.${process.pid}.${randomBytes(4).toString("hex")}`);
  try {
    writeFileSync(partial, image, { mode: 0o500, flag: "wx" });
    renameSync(partial, join(directory, name));
  } catch (error) {
    rmSync(partial, { force: true });
    throw error;
  }
}
