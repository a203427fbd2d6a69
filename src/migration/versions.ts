/** Which vSphere this program and this VDDK get on with: asked by `check`, and by a run before it touches the VM. */
import { MigratekitError } from "../errors.ts";
import type { HostDetails } from "../vmware/vm-details.ts";
import type { About } from "../vmware/wire/service-content.ts";

/** In order; 6.5 and 6.7 count as releases, and from 7 on all of a major version is one. */
const releases = ["older", "6.5", "6.7", "7.0", "8.0", "9.0", "newer"] as const;
type Release = (typeof releases)[number];

/**
 * From VDDK's release notes ("Compatibility and Installation"): a VDDK reads its own vSphere release,
 * the two before it and the one after it. VDDK 6 is 6.5 or 6.7; its library does not tell which.
 */
const vddkReads = [
  { vddk: "9", from: "7.0", to: "newer" },
  { vddk: "8", from: "6.7", to: "9.0" },
  { vddk: "7", from: "6.5", to: "8.0" },
  { vddk: "6", from: "older", to: "7.0" },
] as const;

/** Only a doubt: reading may work all the same. */
export interface VersionDoubt {
  readonly message: string;
  readonly remedy: string;
}

/**
 * Why no run can be made through this endpoint; of it alone, before the VM is known. `version` as `about`
 * has it: `6.7.0`.
 */
export function oldEndpoint({ apiType, version }: About): MigratekitError | undefined {
  const what = apiType === "HostAgent" ? "the ESXi host" : "the vCenter";
  return releaseOf(version) === "older" ? tooOld(what, version) : undefined;
}

/**
 * The host that the data comes from: its version counts, where it may be read, not its vCenter's.
 * `vddk` is the major version of the library, as its name has it. Undefined: nothing to say, or said of the
 * endpoint already.
 */
export function hostVersionTrouble(
  about: About,
  host: HostDetails,
  vddk: string | undefined,
): MigratekitError | VersionDoubt | undefined {
  const version = host.version === "" ? about.version : host.version;
  const what =
    host.version === "" ? "the vCenter" : `the ESXi host ${host.name || "that holds the VM"}`;
  if (releaseOf(version) !== "older") return vddkDoubt(what, version, vddk);
  if (releaseOf(about.version) === "older") return undefined;
  return tooOld(what, version, {
    remedy:
      "Data comes from the host, whatever its vCenter is: move the VM to a newer one, or upgrade it.",
  });
}

function tooOld(what: string, version: string, options: { remedy?: string } = {}): MigratekitError {
  const message = `${what} is version ${version}, older than 6.5`;
  return new MigratekitError("vsphere-too-old", message, options);
}

function vddkDoubt(
  what: string,
  version: string,
  vddk: string | undefined,
): VersionDoubt | undefined {
  const row = vddkReads.find((entry) => entry.vddk === vddk);
  if (row === undefined) return undefined;
  const release = releaseOf(version);
  if (reads(row, release)) return undefined;
  const limit =
    releases.indexOf(release) < releases.indexOf(row.from)
      ? `begins at ${row.from}`
      : `ends at ${row.to}`;
  const fitting = vddkReads.filter((entry) => entry.vddk !== "6" && reads(entry, release));
  return {
    message: `VDDK ${row.vddk} ${limit}, and ${what} is version ${version}: reading may fail`,
    remedy: `Take VDDK ${fitting.map((entry) => entry.vddk).join(" or ")}, and give its directory with --vddk-libdir.`,
  };
}

function reads({ from, to }: { from: Release; to: Release }, release: Release): boolean {
  const at = releases.indexOf(release);
  return releases.indexOf(from) <= at && at <= releases.indexOf(to);
}

/** A text that is no version is not called old. */
function releaseOf(version: string): Release {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (Number.isNaN(major) || major > 9) return "newer";
  if (major >= 7) return `${major as 7 | 8 | 9}.0`;
  if (major < 6 || minor < 5) return "older";
  return minor < 7 ? "6.5" : "6.7";
}
