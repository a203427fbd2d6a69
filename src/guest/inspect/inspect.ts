/** The guest's operating system found and its file systems mounted, in a guestfish that is open. */
import { MigratekitError } from "../../errors.ts";
import type { GuestSystem } from "../conversion.ts";
import type { Guestfish } from "../guestfish/guestfish.ts";
import { type LuksKey, unlock } from "./unlock.ts";

export interface Inspected {
  readonly system: GuestSystem;
  /** Device or subvolume of the root, by the appliance's names: /dev/sda1, /dev/vg0/root. */
  readonly root: string;
  /** Mount points to devices; "/" is among them. */
  readonly mounts: ReadonlyMap<string, string>;
  /** Mounted now, and in writing where that was asked for. */
  readonly mounted: ReadonlySet<string>;
  /** LUKS that was opened: by the appliance's name for what is inside, the UUID of its header. */
  readonly opened: ReadonlyMap<string, string>;
  /** Folder of Windows, such as /Windows. */
  readonly systemRoot?: string;
  /** Such as ControlSet001. */
  readonly controlSet?: string;
}

/**
 * @param root as for virt-v2v: `single`, `first`, or a device
 * @throws MigratekitError `guest-unsupported`, `guest-encrypted`; GuestfishError where a root on Btrfs cannot be asked about
 */
export async function inspectGuest(
  guestfish: Guestfish,
  root = "single",
  keys: readonly LuksKey[] = [],
): Promise<Inspected> {
  const opened = await unlock(guestfish, keys);
  const roots = await guestfish.lines("inspect-os");
  const chosen = root.startsWith("/dev/") ? roots.find((each) => each === root) : roots[0];
  if (chosen === undefined) throw noRoot(root, roots);
  if (root === "single" && roots.length > 1) throw severalRoots(roots);
  // Where the appliance has taken one disk for another, all that follows would find nothing (v2v/classify.ts).
  if (chosen.startsWith("btrfsvol:")) await guestfish.run("inspect-get-type", chosen);
  const mounts = await mountPoints(guestfish, chosen);
  const mounted = new Set<string>();
  // A parent before what is mounted below it.
  for (const point of [...mounts.keys()].sort((a, b) => a.length - b.length)) {
    if ((await guestfish.attempt("mount", mounts.get(point) ?? "", point)) !== undefined) {
      mounted.add(point);
    }
  }
  const system = await systemOf(guestfish, chosen);
  const found = { system, root: chosen, mounts, mounted, opened };
  if (system.os !== "windows") return found;
  const systemRoot = await word(guestfish, "inspect-get-windows-systemroot", chosen);
  const controlSet = await word(guestfish, "inspect-get-windows-current-control-set", chosen);
  return {
    ...found,
    ...(systemRoot === undefined ? {} : { systemRoot }),
    ...(controlSet === undefined ? {} : { controlSet }),
  };
}

async function mountPoints(guestfish: Guestfish, root: string): Promise<Map<string, string>> {
  const lines = await guestfish.lines("inspect-get-mountpoints", root);
  const pairs = lines.map((line) => {
    const at = line.indexOf(": ");
    return [line.slice(0, at), line.slice(at + 2)] as const;
  });
  const points = new Map(pairs.filter(([point]) => point.startsWith("/")));
  return points.has("/") ? points : new Map([["/", root], ...points]);
}

async function systemOf(guestfish: Guestfish, root: string): Promise<GuestSystem> {
  const type = await word(guestfish, "inspect-get-type", root);
  const distro = await word(guestfish, "inspect-get-distro", root);
  const major = await word(guestfish, "inspect-get-major-version", root);
  const minor = await word(guestfish, "inspect-get-minor-version", root);
  const os = type === "linux" || type === "windows" ? type : "unknown";
  const release = os === "linux" ? await guestfish.readText("/etc/os-release") : undefined;
  const pretty = /^PRETTY_NAME="?([^"\n]+)"?$/m.exec(release ?? "")?.[1];
  const product = pretty ?? (await word(guestfish, "inspect-get-product-name", root));
  const version = major === undefined ? undefined : `${major}.${minor ?? 0}`;
  return {
    os,
    ...(distro === undefined ? {} : { distro }),
    ...(version === undefined ? {} : { version }),
    ...(product === undefined ? {} : { product }),
  };
}

async function word(guestfish: Guestfish, command: string, root: string) {
  const text = (await guestfish.attempt(command, root))?.trim();
  return text === "" || text === "unknown" ? undefined : text;
}

function noRoot(root: string, roots: readonly string[]): MigratekitError {
  const found = roots.length === 0 ? "no operating system was found" : `found: ${roots.join(", ")}`;
  const message = root.startsWith("/dev/")
    ? `no operating system lies on ${root}; ${found}`
    : "no operating system was found on the disks";
  return new MigratekitError("guest-unsupported", message, {
    remedy: "Check that all disks of the machine are given, the boot disk first.",
  });
}

function severalRoots(roots: readonly string[]): MigratekitError {
  return new MigratekitError(
    "guest-unsupported",
    `there is more than one operating system on the disks: ${roots.join(", ")}`,
    { remedy: `Say which one boots, for example --guest-root ${roots[0]}.` },
  );
}
