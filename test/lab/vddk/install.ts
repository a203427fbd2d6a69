// One laboratory's own VDDK: a `--vddk-libdir` whose library reads this laboratory's files.
// The files and their meaning are described in lab.c and in README.md beside this file.

import { access, mkdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";

const root = join(import.meta.dirname, "../../..");
/** The stand-in library, as set-up compiles it. */
export const builtLibrary = join(root, ".lab/vddk/lib64/libvixDiskLib.so.8");

/** The real nbdkit VDDK plugin of Debian 13, as fetched by set-up. */
export const vddkPlugin = join(root, ".lab/plugin/nbdkit-vddk-plugin.so");

/**
 * What goes wrong in the library. Each takes effect at the next open or read, in running nbdkit
 * processes too. A fault named X with a `X_count` beside it strikes that many times in all
 * processes together, then no more. Offsets are bytes; numbers of reads are per disk handle,
 * save for crash_after: per process. `only` limits all of them to disks with that text in the path.
 */
export interface VddkFaults {
  only?: string;
  connect_error?: number; // VIX error of ConnectEx
  no_nbdssl?: 1; // the host offers NFC in the clear only
  open_error?: number; // VIX error of Open, e.g. 18000 cannot connect to host
  open_error_count?: number;
  open_delay_us?: number;
  bad_credentials?: 1;
  bad_thumbprint?: 1;
  nfc_refuse?: 1;
  nfc_refuse_count?: number;
  nfc_unresolvable?: 1;
  delay_us?: number; // before every read
  aio_threads?: number; // reads under way at once per handle [4], read at open
  read_error_at?: number; // reads that cover this byte fail
  read_error_at_count?: number;
  read_error_code?: number; // [7: file access error]
  drop_after?: number; // the host closes the connection after so many reads of a handle
  drop_after_count?: number;
  hang_after?: number; // reads after so many never end, until the fault is taken away
  hang_after_count?: number;
  crash_after?: number; // the process aborts after so many reads
  crash_after_count?: number;
  no_extents?: 1; // as VDDK before 6.7: allocation cannot be asked for
  all_allocated?: 1; // one whole-disk extent
  extents_error_from?: number; // asking for allocation beyond this byte fails
  extents_error_from_count?: number;
  capacity_bytes?: number; // another capacity than the image's
}

/** What was read through one closed disk handle. */
export interface VddkUse {
  diskPath: string;
  snapshotMoref: string;
  reads: number;
  bytes: number;
}

export interface VddkLab {
  /** For `--vddk-libdir`. */
  libdir: string;
  /** For `--vddk-plugin`. */
  plugin: string;
  /** Replaces all faults; `{}` heals everything. Counters start again. */
  setFaults(faults: VddkFaults): Promise<void>;
  /** Handles closed since the start, oldest first. A crashed process leaves none. */
  readUse(): Promise<VddkUse[]>;
}

async function requireBuilt(path: string): Promise<void> {
  await access(path).catch(() => {
    throw new Error(`${path} is missing: run node .ci/setup.mjs --lab`);
  });
}

function parseUse(line: string): VddkUse {
  const [diskPath = "", snapshotMoref = "", reads, bytes] = line.split("\t");
  return { diskPath, snapshotMoref, reads: Number(reads), bytes: Number(bytes) };
}

/** Makes `labDir/vddk/lib`. The links are not resolved by the library: lab.conf is found by libdir. */
export async function installVddk(labDir: string): Promise<VddkLab> {
  await Promise.all([requireBuilt(builtLibrary), requireBuilt(vddkPlugin)]);
  const vddkDir = join(labDir, "vddk");
  const libdir = join(vddkDir, "lib");
  await mkdir(join(libdir, "lib64"), { recursive: true });
  await mkdir(join(vddkDir, "snapshots"), { recursive: true });
  await symlink(builtLibrary, join(libdir, "lib64/libvixDiskLib.so.8"));
  await writeFile(join(libdir, "lab.conf"), `${labDir}\n`);
  return {
    libdir,
    plugin: vddkPlugin,
    setFaults: (faults) => writeFaults(vddkDir, faults),
    readUse: async () => {
      const text = await readFile(join(vddkDir, "use.log"), "utf8").catch(() => "");
      return text.split("\n").filter(Boolean).map(parseUse);
    },
  };
}

async function writeFaults(vddkDir: string, faults: VddkFaults): Promise<void> {
  const entries = Object.entries(faults).filter(([, value]) => value !== undefined);
  for (const [name] of entries)
    await rm(join(vddkDir, `used.${name.replace(/_count$/, "")}`), { force: true });
  // A new file each time: the library tells a change by the inode and the time together.
  const partial = join(vddkDir, "faults.partial");
  await writeFile(partial, entries.map(([name, value]) => `${name}=${value}\n`).join(""));
  await rename(partial, join(vddkDir, "faults"));
}

/** What the library checks on connecting; `nfc` is host:port of the NFC listener. */
export async function writeVddkCredentials(
  labDir: string,
  credentials: { username: string; password: string; thumbprintSha1: string; nfc: string },
): Promise<void> {
  const { username, password, thumbprintSha1, nfc } = credentials;
  await mkdir(join(labDir, "vddk"), { recursive: true });
  await writeFile(
    join(labDir, "vddk/credentials"),
    `${username}\n${password}\n${thumbprintSha1}\n${nfc}\n`,
    { mode: 0o600 },
  );
}

/** Makes the disks of a snapshot readable, where no simulator does it. */
export async function publishSnapshot(
  labDir: string,
  snapshotMoref: string,
  disks: { vmMoref: string; diskPath: string; image: string }[],
): Promise<void> {
  const folder = join(labDir, "vddk/snapshots", snapshotMoref);
  await mkdir(folder, { recursive: true });
  for (const [index, disk] of disks.entries())
    await writeFile(
      join(folder, `${index}.map`),
      `${disk.vmMoref}\n${disk.diskPath}\n${disk.image}\n`,
    );
}
