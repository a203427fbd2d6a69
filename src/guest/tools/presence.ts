/** What a conversion needs, looked for before anything is done. */
import { constants } from "node:fs";
import { access, readdir, stat } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { MigratekitError } from "../../errors.ts";
import { missing } from "./tools.ts";

export interface ToolWishes {
  /** The guest is Windows, by what vSphere says of it. */
  readonly windows?: boolean;
  /** --virtio-win */
  readonly virtioWin?: string;
  /** It will be started too. */
  readonly boot?: boolean;
  readonly firmware?: "bios" | "uefi";
}

const programs = ["virt-v2v-in-place", "guestfish", "qemu-img", "qemu-nbd", "qemu-system-x86_64"];
/** Where programs lie that users do not call. */
const libexec = ["/usr/libexec"];
const virtioWinPlace = "/usr/share/virtio-win";
const virtTools = "/usr/share/virt-tools";
const firmwareFolders = ["/usr/share/OVMF", "/usr/share/edk2/ovmf", "/usr/share/qemu"];

/** @throws MigratekitError the first of what is missing */
export async function requireGuestTools(wishes: ToolWishes): Promise<void> {
  const [first] = await missingGuestTools(wishes);
  if (first !== undefined) throw first;
}

/** Everything that is missing, each as an error that names its package. */
export async function missingGuestTools(wishes: ToolWishes): Promise<MigratekitError[]> {
  const found: MigratekitError[] = [];
  for (const program of programs) {
    if (!(await isProgram(program))) found.push(missing(`${program} is not installed`, program));
  }
  if (!(await hasApplianceKernel())) {
    const message =
      "libguestfs finds no kernel here that it may read (/boot/vmlinuz-*) for its appliance";
    found.push(missing(message, "appliance kernel"));
  }
  if (
    wishes.boot &&
    wishes.firmware === "uefi" &&
    !(await anyFile(firmwareFolders, /^OVMF_CODE|ovmf-x86_64/))
  ) {
    found.push(missing("there is no UEFI firmware for virtual machines here", "OVMF"));
  }
  if (wishes.windows) found.push(...(await missingForWindows(wishes)));
  return found;
}

async function missingForWindows({ virtioWin }: ToolWishes): Promise<MigratekitError[]> {
  const found: MigratekitError[] = [];
  if (virtioWin !== undefined && (await stat(virtioWin).catch(() => undefined)) === undefined) {
    found.push(
      new MigratekitError("usage", `--virtio-win ${virtioWin} is not there`, {
        remedy: "Give virtio-win's ISO, or the folder that holds what is on it.",
      }),
    );
  }
  if (virtioWin === undefined && !(await anyFile([virtioWinPlace], /./))) {
    const message = "there are no virtio drivers for Windows here";
    found.push(missing(message, "virtio-win"));
  }
  if (!(await anyFile([toolsFolder()], /^(rhsrvany|pvvxsvc)\.exe$/))) {
    found.push(missing(`rhsrvany.exe is not in ${toolsFolder()}`, "rhsrvany"));
  }
  return found;
}

/** Where virt-v2v looks for what Windows runs at its first boot. */
function toolsFolder(): string {
  // biome-ignore lint/style/noProcessEnv: libguestfs's own variable, handed on to it
  return process.env.VIRT_TOOLS_DATA_DIR ?? virtTools;
}

async function isProgram(name: string): Promise<boolean> {
  // biome-ignore lint/style/noProcessEnv: where programs are, not a setting of ours
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin", ...libexec];
  for (const folder of folders) if (await may(join(folder, name), constants.X_OK)) return true;
  return false;
}

/** Ubuntu's kernels are root's alone to read. A fixed appliance (LIBGUESTFS_PATH) brings its own. */
async function hasApplianceKernel(): Promise<boolean> {
  // biome-ignore lint/style/noProcessEnv: libguestfs's own variable
  if (process.env.LIBGUESTFS_PATH !== undefined) return true;
  const modules = await readdir("/lib/modules").catch(() => []);
  for (const release of modules) {
    const places = [`/boot/vmlinuz-${release}`, `/lib/modules/${release}/vmlinuz`];
    for (const place of places) if (await may(place, constants.R_OK)) return true;
  }
  return false;
}

async function anyFile(folders: readonly string[], pattern: RegExp): Promise<boolean> {
  for (const folder of folders) {
    const names = await readdir(folder).catch(() => []);
    if (names.some((name) => pattern.test(name))) return true;
  }
  return false;
}

async function may(path: string, mode: number): Promise<boolean> {
  return access(path, mode).then(
    () => true,
    () => false,
  );
}
