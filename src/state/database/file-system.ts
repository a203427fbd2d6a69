/** What kind of file system the state lies on: its locks have to keep every other run out. */
import { existsSync, readFileSync, statfsSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { MigratekitError } from "../../errors.ts";
import { stateFailure } from "./failure.ts";

/** f_type of statfs(2) of what other hosts may have mounted too (linux/magic.h, and the kinds' own headers). */
const sharedKinds: ReadonlyMap<number, string> = new Map([
  [0x6969, "NFS"],
  [0x517b, "SMB"],
  [0xff534d42, "CIFS"],
  [0xfe534d42, "SMB"],
  [0x00c36400, "Ceph"],
  [0x01021997, "9P"],
  [0x5346414f, "AFS"],
  [0x6b414653, "AFS"],
  [0x73757245, "Coda"],
  [0x0bd00bd0, "Lustre"],
  [0x47504653, "GPFS"],
  [0x19830326, "BeeGFS"],
  [0x20030528, "OrangeFS"],
  [0x01161970, "GFS2"],
  [0x7461636f, "OCFS2"],
  [0xaad7aaea, "PanFS"],
  [0x786f4256, "a VirtualBox shared folder"],
  [0xbacbacbc, "a VMware shared folder"],
]);

const fuse = 0x65735546;
/** Of all that goes by FUSE (sshfs, GlusterFS, s3fs, virtiofs …), what is on a disk of this host for certain. */
const localFuse = ["fuseblk", "fuse.fuse-overlayfs"];

/**
 * Refuses a directory, there or yet to be made, on a file system that other hosts may share: POSIX
 * locks on one keep out the processes of this host at best. @throws MigratekitError `state-unusable`
 */
export function checkFileSystem(dir: string): void {
  const place = nearestExisting(dir);
  const kind = sharedKindOf(place);
  if (kind === undefined) return;
  throw new MigratekitError(
    "state-unusable",
    `The state in ${dir} was refused: ${place} is on ${kind}, where locks may not keep the runs of other hosts out`,
    {
      remedy: "Give a directory on a disk of this host as --state-dir.",
      context: { path: dir, fileSystem: kind },
    },
  );
}

export function nearestExisting(path: string): string {
  let at = resolve(path);
  while (!existsSync(at) && dirname(at) !== at) at = dirname(at);
  return at;
}

function sharedKindOf(path: string): string | undefined {
  try {
    const { type } = statfsSync(path);
    if (type !== fuse) return sharedKinds.get(type);
    const { dev } = statSync(path);
    return fuseKind(readFileSync("/proc/self/mountinfo", "utf8"), dev);
  } catch (error) {
    throw stateFailure("Looking at the state directory's file system", path, error);
  }
}

/** From /proc/PID/mountinfo (proc(5)): major:minor is the third field, the type follows the lone dash. */
function fuseKind(mountinfo: string, dev: number): string | undefined {
  const device = `${(dev >> 8) & 0xfff}:${(dev & 0xff) | ((dev >> 12) & 0xfff00)}`;
  const line = mountinfo.split("\n").findLast((text) => text.split(" ")[2] === device);
  const type = line?.slice(line.indexOf(" - ") + 3).split(" ")[0] ?? "FUSE";
  return localFuse.includes(type) ? undefined : type;
}
