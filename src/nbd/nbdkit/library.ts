/** VMware's library as the plugin finds it, or why it does not load and what helps. */
import { lstat, readdir, readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { hasSystemCode, MigratekitError, messageOf } from "../../errors.ts";
import { answerOf, askNbdkit, errorLineOf, fieldsOf, type NbdkitProgram } from "./ask.ts";

export interface VddkPlugin {
  /** As nbdkit takes it. */
  readonly argument: string;
  readonly version: string;
  readonly path: string;
}

export interface VddkLibrary {
  /** "8" of libvixDiskLib.so.8 */
  readonly majorVersion: string;
  readonly path: string | undefined;
}

/**
 * nbdkit is asked with the directory: this makes the plugin load the library.
 * @throws MigratekitError `vddk-library-missing` with a remedy for the cause at hand
 */
export async function readLibrary(
  options: NbdkitProgram & { readonly libdir: string },
  plugin: VddkPlugin,
): Promise<VddkLibrary> {
  const libdir = resolve(options.libdir);
  await requireDirectory(libdir);
  const args = [plugin.argument, "--dump-plugin", `libdir=${libdir}`];
  const result = await askNbdkit(options, args);
  const fields = fieldsOf(result.stdout);
  const majorVersion = fields.get("vddk_library_version");
  if (result.exitCode === 0 && majorVersion !== undefined) {
    return { majorVersion, path: fields.get("vddk_dll") };
  }
  const said = await whyNotLoaded(options, plugin, libdir);
  const found = await librariesIn(libdir);
  const remedy = await remedyFor(said, found, libdir, plugin);
  throw new MigratekitError(
    "vddk-library-missing",
    `VMware's library in ${libdir} could not be loaded: ${said} (${whatLies(found)})`,
    remedy === undefined ? {} : { remedy },
  );
}

async function requireDirectory(libdir: string): Promise<void> {
  const status = await stat(libdir).catch((error: unknown) => {
    const reason = hasSystemCode(error, "ENOENT") ? "there is no such directory" : messageOf(error);
    throw new MigratekitError("vddk-library-missing", `no VDDK in ${libdir}: ${reason}`, {
      cause: error,
    });
  });
  if (status.isDirectory()) return;
  throw new MigratekitError("vddk-library-missing", `no VDDK in ${libdir}: it is not a directory`);
}

/** `--dump-plugin` does not tell why the library did not load, serving does. */
async function whyNotLoaded(
  options: NbdkitProgram,
  plugin: VddkPlugin,
  libdir: string,
): Promise<string> {
  // On stdin, which is empty: no socket, and an end at once should the library load after all.
  const args = ["--single", "--readonly", plugin.argument, `libdir=${libdir}`, "file=/none"];
  const result = await askNbdkit(options, args);
  return errorLineOf(result.stderr) ?? `nbdkit ${answerOf(result)}`;
}

/** A libvixDiskLib.so.N by its name. */
interface FoundLibrary {
  readonly name: string;
  /** False: a link whose target is not there. */
  readonly whole: boolean;
}

async function librariesIn(libdir: string): Promise<FoundLibrary[]> {
  const found: FoundLibrary[] = [];
  for (const dir of [join(libdir, "lib64"), libdir]) {
    const names = await readdir(dir).catch(() => []);
    for (const name of names.filter((each) => /^libvixDiskLib\.so\.\d+$/.test(each))) {
      const whole = !(await isDangling(join(dir, name)));
      found.push({ name, whole });
    }
  }
  return found;
}

/** A link whose target is not there. */
async function isDangling(path: string): Promise<boolean> {
  const link = await lstat(path).catch(() => undefined);
  if (!link?.isSymbolicLink()) return false;
  return stat(path).then(
    () => false,
    (error: unknown) => hasSystemCode(error, "ENOENT"),
  );
}

/** The plugin's own text names only the newest version that it knows, so what lies there is added. */
function whatLies(found: readonly FoundLibrary[]): string {
  if (found.length === 0) return "no libvixDiskLib.so.N lies there";
  const names = (whole: boolean) =>
    found.filter((each) => each.whole === whole).map(({ name }) => name);
  const dangling = names(false).map((name) => `${name} is a link into nothing`);
  const whole = names(true);
  return [...(whole.length === 0 ? [] : [`${whole.join(", ")} found`]), ...dangling].join("; ");
}

/** Where a distribution has a library that VDDK needs and does not bring along. */
const packages: Readonly<Record<string, string>> = {
  "libcrypt.so.1": "libxcrypt-compat on RHEL 9 and Fedora",
};

async function remedyFor(
  said: string,
  found: readonly FoundLibrary[],
  libdir: string,
  plugin: VddkPlugin,
): Promise<string | undefined> {
  const missing = missingLibrary(said);
  if (missing === undefined) return undefined;
  if (found.some(({ whole }) => !whole) || (await isDangling(join(libdir, "lib64", missing)))) {
    return "Unpack VDDK anew, with its links and the files that they lead to (tar -x, or cp -a of the whole directory).";
  }
  if (!missing.startsWith("libvixDiskLib.so")) {
    const where = packages[missing];
    return where === undefined
      ? `Install ${missing}, which VDDK needs; if it came with VDDK, unpack VDDK whole.`
      : `Install ${missing}, which VDDK needs: ${where}.`;
  }
  const known = await versionsThatLoad(plugin.path);
  if (found.length === 0 || known.length === 0) return undefined;
  return `The plugin ${plugin.version} loads VDDK ${known.join(", ")}: take one of these, or a newer plugin.`;
}

/** "libcrypt.so.1: cannot open shared object file: No such file or directory", as the loader says it. */
function missingLibrary(said: string): string | undefined {
  return /(?:^|[/\s])([^/\s:]+\.so[.\d]*): cannot open shared object file: No such file/.exec(
    said,
  )?.[1];
}

/** The plugin's file names the libraries that it tries; nothing else tells them all. */
async function versionsThatLoad(pluginPath: string): Promise<string[]> {
  const bytes = await readFile(pluginPath, "latin1").catch(() => "");
  const versions = [...bytes.matchAll(/libvixDiskLib\.so\.(\d+)\0/g)].map((match) => match[1]!);
  return [...new Set(versions)].sort((a, b) => Number(a) - Number(b));
}
