/** Looking at nbdkit, its VDDK plugin and VMware's library before anything depends on them. */
import { readdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type ErrorCode, hasSystemCode, MigratekitError, messageOf } from "../../errors.ts";
import { type ProgramResult, runProgram } from "../../run-program.ts";
import { parseLine } from "./causes.ts";
import { childEnvironment, pluginArgument, programPath } from "./command.ts";

export interface InspectOptions {
  /** "nbdkit", or its path. */
  readonly nbdkit: string;
  /** "vddk", or the plugin's path. */
  readonly plugin: string;
  /** VDDK's directory: the one above lib64. */
  readonly libdir: string;
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

export interface NbdkitInspection {
  readonly nbdkitVersion: string;
  readonly pluginVersion: string;
  readonly pluginPath: string;
  /** Major version of libvixDiskLib, such as "8", and the file behind it, where the plugin tells. */
  readonly vddkLibraryVersion?: string;
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
  const config = fieldsOf((await runNbdkit(options, ["--dump-config"])).stdout);
  const plugin = await readPlugin(options);
  const library = await readLibrary(options);
  return {
    nbdkitVersion,
    pluginVersion: plugin.get("version") ?? "unknown",
    pluginPath: plugin.get("path") ?? options.plugin,
    ...optional("vddkLibraryVersion", library.get("vddk_library_version")),
    ...optional("vddkLibraryPath", library.get("vddk_dll")),
    filters: await listFilters(config.get("filterdir")),
  };
}

async function readVersion(options: InspectOptions): Promise<string> {
  const result = await runNbdkit(options, ["--version"]);
  const version = /^nbdkit (\d[\w.]*)/.exec(result.stdout)?.[1];
  if (version !== undefined && result.exitCode === 0) return version;
  throw failure(
    "nbdkit-missing",
    `${options.nbdkit} does not behave like nbdkit: --version ${answerOf(result)}`,
  );
}

async function readPlugin(options: InspectOptions): Promise<Map<string, string>> {
  const result = await runNbdkit(options, [pluginArgument(options.plugin), "--dump-plugin"]);
  const fields = fieldsOf(result.stdout);
  if (result.exitCode === 0 && fields.get("name") === "vddk") return fields;
  const reason =
    fields.get("name") === undefined
      ? `nbdkit cannot load it: it ${answerOf(result)}`
      : `it is nbdkit's plugin "${fields.get("name")}"`;
  throw failure("vddk-plugin-missing", `no VDDK plugin in ${options.plugin}: ${reason}`);
}

/** Asked for a second time with the directory: this makes the plugin load the library. */
async function readLibrary(options: InspectOptions): Promise<Map<string, string>> {
  const libdir = resolve(options.libdir);
  const status = await stat(libdir).catch((error: unknown) => {
    const reason = hasSystemCode(error, "ENOENT") ? "there is no such directory" : messageOf(error);
    throw failure("vddk-library-missing", `no VDDK in ${libdir}: ${reason}`, error);
  });
  if (!status.isDirectory()) {
    throw failure("vddk-library-missing", `no VDDK in ${libdir}: it is not a directory`);
  }
  const args = [pluginArgument(options.plugin), "--dump-plugin", `libdir=${libdir}`];
  const result = await runNbdkit(options, args);
  const fields = fieldsOf(result.stdout);
  if (result.exitCode === 0 && fields.has("vddk_library_version")) return fields;
  throw failure(
    "vddk-library-missing",
    `VMware's library in ${libdir} could not be loaded: ${await whyNotLoaded(options, libdir)}`,
  );
}

/**
 * `--dump-plugin` does not tell why the library did not load, serving does. The plugin's own text
 * names only the newest version that it knows, so what lies in the directory is added.
 */
async function whyNotLoaded(options: InspectOptions, libdir: string): Promise<string> {
  const plugin = pluginArgument(options.plugin);
  // On stdin, which is empty: no socket, and an end at once should the library load after all.
  const args = ["--single", "--readonly", plugin, `libdir=${libdir}`, "file=/none"];
  const result = await runNbdkit(options, args);
  const found = await librariesIn(libdir);
  const lies =
    found.length === 0 ? "no libvixDiskLib.so.N lies there" : `${found.join(", ")} found`;
  return `${errorLineOf(result.stderr) ?? `nbdkit ${answerOf(result)}`} (${lies})`;
}

async function librariesIn(libdir: string): Promise<string[]> {
  const found: string[] = [];
  for (const dir of [join(libdir, "lib64"), libdir]) {
    const names = await readdir(dir).catch(() => []);
    found.push(...names.filter((name) => /^libvixDiskLib\.so\.\d+$/.test(name)));
  }
  return found;
}

async function listFilters(filterDir: string | undefined): Promise<Set<string>> {
  const names = filterDir === undefined ? [] : await readdir(filterDir).catch(() => []);
  const filters = names.map((name) => /^nbdkit-(.+)-filter\.so$/.exec(name)?.[1]);
  return new Set(filters.filter((name) => name !== undefined));
}

async function runNbdkit(options: InspectOptions, args: readonly string[]): Promise<ProgramResult> {
  const { nbdkit, signal, timeoutMs } = options;
  try {
    return await runProgram(programPath(nbdkit), args, {
      env: childEnvironment(),
      ...optional("signal", signal),
      ...optional("timeoutMs", timeoutMs),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw cannotRun(nbdkit, error);
  }
}

/** For an error of `spawn`: ENOENT, EACCES, ENOEXEC … */
export function cannotRun(nbdkit: string, error: unknown): MigratekitError {
  const where = nbdkit.includes("/") ? nbdkit : `${nbdkit} (looked for in PATH)`;
  const reason = hasSystemCode(error, "ENOENT") ? "there is no such program" : messageOf(error);
  return failure("nbdkit-missing", `cannot run ${where}: ${reason}`, error);
}

function answerOf(result: ProgramResult): string {
  if (result.timedOut) return "gave no answer in time";
  const text = errorLineOf(result.stderr) ?? firstLine(result.stdout);
  const end = result.exitCode === undefined ? "died" : `ended with exit code ${result.exitCode}`;
  return text === undefined ? end : `${end} and said: ${text}`;
}

function errorLineOf(stderr: string): string | undefined {
  const lines = stderr.split("\n").filter((line) => line.trim() !== "");
  const error = lines.find((line) => parseLine(line).level === "error") ?? lines[0];
  return error === undefined ? undefined : parseLine(error).text.slice(0, 300);
}

function firstLine(text: string): string | undefined {
  return text.trim().split("\n")[0]?.slice(0, 120) || undefined;
}

/** The lines "name=value" of --dump-config and --dump-plugin. */
function fieldsOf(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split("\n")) {
    const at = line.indexOf("=");
    if (at > 0) fields.set(line.slice(0, at), line.slice(at + 1));
  }
  return fields;
}

function failure(code: ErrorCode, message: string, cause?: unknown): MigratekitError {
  return new MigratekitError(code, message, { cause });
}

function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]?: V });
}
