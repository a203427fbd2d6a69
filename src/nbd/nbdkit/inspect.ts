/** Looking at nbdkit, its VDDK plugin and VMware's library before anything depends on them. */
import { readdir } from "node:fs/promises";
import { MigratekitError } from "../../errors.ts";
import { answerOf, askNbdkit, fieldsOf, type NbdkitProgram } from "./ask.ts";
import { pluginArgument } from "./command.ts";
import { readLibrary, type VddkPlugin } from "./library.ts";

export interface InspectOptions extends NbdkitProgram {
  /** "vddk", or the plugin's path. */
  readonly plugin: string;
  /** VDDK's directory: the one above lib64. */
  readonly libdir: string;
}

export interface NbdkitInspection {
  readonly nbdkitVersion: string;
  readonly pluginVersion: string;
  readonly pluginPath: string;
  /** Major version of libvixDiskLib, such as "8". */
  readonly vddkLibraryVersion?: string;
  /** The file behind it, where the plugin tells. */
  readonly vddkLibraryPath?: string;
  /** Short names of the installed filters. */
  readonly filters: ReadonlySet<string>;
}

/**
 * @throws MigratekitError `nbdkit-missing`, `vddk-plugin-missing` or `vddk-library-missing`: in
 * this order, so that the first thing to repair is named.
 */
export async function inspectNbdkit(options: InspectOptions): Promise<NbdkitInspection> {
  const nbdkitVersion = await readVersion(options);
  const config = fieldsOf((await askNbdkit(options, ["--dump-config"])).stdout);
  const plugin = await readPlugin(options);
  const library = await readLibrary(options, plugin);
  return {
    nbdkitVersion,
    pluginVersion: plugin.version,
    pluginPath: plugin.path,
    vddkLibraryVersion: library.majorVersion,
    ...(library.path === undefined ? {} : { vddkLibraryPath: library.path }),
    filters: await listFilters(config.get("filterdir")),
  };
}

async function readVersion(options: InspectOptions): Promise<string> {
  const result = await askNbdkit(options, ["--version"]);
  const version = /^nbdkit (\d[\w.]*)/.exec(result.stdout)?.[1];
  if (version !== undefined && result.exitCode === 0) return version;
  throw new MigratekitError(
    "nbdkit-missing",
    `${options.nbdkit} does not behave like nbdkit: --version ${answerOf(result)}`,
  );
}

async function readPlugin(options: InspectOptions): Promise<VddkPlugin> {
  const result = await askNbdkit(options, [pluginArgument(options.plugin), "--dump-plugin"]);
  const fields = fieldsOf(result.stdout);
  if (result.exitCode === 0 && fields.get("name") === "vddk") {
    return {
      argument: pluginArgument(options.plugin),
      version: fields.get("version") ?? "unknown",
      path: fields.get("path") ?? options.plugin,
    };
  }
  const reason =
    fields.get("name") === undefined
      ? `nbdkit cannot load it: it ${answerOf(result)}`
      : `it is nbdkit's plugin "${fields.get("name")}"`;
  throw new MigratekitError(
    "vddk-plugin-missing",
    `no VDDK plugin in ${options.plugin}: ${reason}`,
  );
}

async function listFilters(filterDir: string | undefined): Promise<Set<string>> {
  const names = filterDir === undefined ? [] : await readdir(filterDir).catch(() => []);
  const filters = names.map((name) => /^nbdkit-(.+)-filter\.so$/.exec(name)?.[1]);
  return new Set(filters.filter((name) => name !== undefined));
}
