/** The command line of nbdkit as a value: made here, run elsewhere, with nothing secret in it. */
import { resolve } from "node:path";
import { MigratekitError } from "../../errors.ts";

/** One disk of one snapshot, as VDDK wants it named. */
export interface VddkSource {
  /** vCenter or ESXi host, without brackets or port. */
  readonly server: string;
  /** Its HTTPS port; absent: 443. */
  readonly port?: number;
  /** Port of the ESXi host's NFC service; absent: 902. */
  readonly nfcPort?: number;
  readonly username: string;
  readonly password: string;
  /** SHA-1 of the server's certificate, 20 pairs of hexadecimal digits with colons. */
  readonly thumbprintSha1: string;
  readonly vmMoref: string;
  readonly snapshotMoref: string;
  /** The backing file in the snapshot's configuration: "[datastore] dir/disk.vmdk". */
  readonly diskPath: string;
  readonly compression: "none" | "zlib" | "fastlz" | "skipz";
  /** Colon-separated and in order of preference, such as "file:nbdssl:nbd". */
  readonly transports: string;
  /** Directory of VMware's VDDK: the one above lib64. */
  readonly libdir: string;
  /** "vddk", or the path of the plugin. */
  readonly plugin: string;
  /** "nbdkit", or its path. */
  readonly nbdkit: string;
  /** The operator's own VDDK configuration file; absent: one is written. */
  readonly configFile?: string;
}

export interface NbdkitCommand {
  readonly program: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export interface CommandSurroundings {
  readonly socketPath: string;
  readonly configFile: string;
  /** Private directory: stands for the home and the temporary directory of VDDK. */
  readonly dir: string;
  /** The descriptor on which nbdkit finds the password, one line. */
  readonly passwordFd: number;
  /** Names of filters that this nbdkit has. */
  readonly filters: ReadonlySet<string>;
}

/** Reads above 2 MiB can fail in the NFC server of a vCenter (virt-v2v caps them, too). */
const requestBytesMax = 2 * 1024 * 1024;

/**
 * No retry filter: it would also repeat a failed open (a wrong password) for a minute, and the copy
 * engine's fresh connection opens a fresh VDDK handle anyway. No cacheextents filter: the engine
 * asks in windows, not one extent at a time. blocksize-policy only tells clients what VDDK can
 * take; it does not touch requests.
 *
 * `--verbose`, because VDDK tells the cause of a failed open only in its debug lines ("actual
 * thumbprint=…"); the two -D flags leave out the lines for each read.
 */
export function nbdkitCommand(source: VddkSource, place: CommandSurroundings): NbdkitCommand {
  const policy = place.filters.has("blocksize-policy");
  const args = [
    "--foreground",
    "--exit-with-parent",
    "--readonly",
    "--verbose",
    ...["-D", "nbdkit.backend.datapath=0"],
    ...["-D", "vddk.datapath=0"],
    ...["--unix", place.socketPath],
    ...(policy ? ["--filter=blocksize-policy"] : []),
    pluginArgument(source.plugin),
    `libdir=${resolve(source.libdir)}`,
    `server=${source.server}`,
    ...(source.port === undefined || source.port === 443 ? [] : [`port=${source.port}`]),
    ...(source.nfcPort === undefined || source.nfcPort === 902
      ? []
      : [`nfchostport=${source.nfcPort}`]),
    `user=${source.username}`,
    `password=-${place.passwordFd}`,
    `thumbprint=${source.thumbprintSha1}`,
    `vm=moref=${source.vmMoref}`,
    `snapshot=${source.snapshotMoref}`,
    `transports=${source.transports}`,
    `compression=${source.compression}`,
    `config=${place.configFile}`,
    `file=${source.diskPath}`,
    ...(policy ? blockSizes() : []),
  ];
  assertPassable(args, source);
  const env = { ...childEnvironment(), HOME: place.dir, TMPDIR: place.dir };
  return { program: programPath(source.nbdkit), args, env };
}

/**
 * All that nbdkit needs. Never LD_LIBRARY_PATH: the plugin sets it for VDDK by executing itself
 * again. PATH is handed on, so that `nbdkit` is found where the operator's shell finds it.
 */
export function childEnvironment(): Record<string, string> {
  // biome-ignore lint/style/noProcessEnv: handed on to a child, not a setting of ours
  const path = process.env.PATH ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  return { PATH: path, LANG: "C" };
}

/** nbdkit takes a word as the name of an installed plugin, and anything with a dot or slash as a path. */
export function pluginArgument(plugin: string): string {
  return /^[A-Za-z0-9][\w-]*$/.test(plugin) ? plugin : resolve(plugin);
}

/** A name is left to PATH; a path is made absolute, because the child runs in another directory. */
export function programPath(program: string): string {
  return program.includes("/") ? resolve(program) : program;
}

function blockSizes(): string[] {
  return [
    "blocksize-error-policy=allow",
    "blocksize-minimum=512",
    "blocksize-preferred=65536",
    `blocksize-maximum=${requestBytesMax}`,
  ];
}

/** A line break in the password would cut it short; a NUL cannot be in an argument at all. */
function assertPassable(args: readonly string[], source: VddkSource): void {
  if (/[\n\r\0]/.test(source.password)) {
    throw new MigratekitError(
      "source-login",
      "the password holds a line break or NUL, which cannot be handed to VDDK",
      { remedy: "Give the account a password without line breaks." },
    );
  }
  const bad = args.find((argument) => argument.includes("\0"));
  if (bad === undefined) return;
  const name = bad.slice(0, bad.indexOf("="));
  throw new MigratekitError("source-open", `the VDDK parameter ${name} holds a NUL character`);
}
