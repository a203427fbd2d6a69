/**
 * EFI/BOOT: a new machine's firmware knows no boot entries, and starts what lies there. Distributions
 * that were installed with an entry in NVRAM have left it empty.
 */
import type { Repair } from "../conversion.ts";
import type { Guestfish } from "../guestfish/guestfish.ts";
import { filesIn, type RepairContext } from "./context.ts";

const mountPoint = "/migratekit-esp";
const espType = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
/** Of a loader's own folder, the first that is there; shim looks beside itself for what comes next. */
const loaders = [
  "shimx64.efi",
  "shim.efi",
  "bootmgfw.efi",
  "systemd-bootx64.efi",
  "grubx64.efi",
  "grub.efi",
];

/** A loader that could be started, as it lies below EFI. */
export interface EfiLoader {
  readonly folder: string;
  readonly file: string;
}

export async function mendEfiFallback({ guestfish, hardware }: RepairContext): Promise<Repair[]> {
  if (hardware.firmware !== "uefi") return [];
  return withEsp(guestfish, async (efi) => {
    if (efi === undefined || (await hasFallback(guestfish, efi))) return [];
    const loader = await findLoader(guestfish, efi);
    if (loader === undefined) return [];
    const boot = (await child(guestfish, efi, "BOOT")) ?? `${efi}/BOOT`;
    await guestfish.run("mkdir-p", boot);
    // What the loader starts or reads lies beside it: grubx64.efi, mmx64.efi, grub.cfg.
    const wanted = /\.(efi|cfg)$/i;
    const isWindows = loader.file.toLowerCase() === "bootmgfw.efi";
    for (const name of isWindows ? [] : await filesIn(guestfish, loader.folder)) {
      if (wanted.test(name))
        await guestfish.run("cp", `${loader.folder}/${name}`, `${boot}/${name}`);
    }
    await guestfish.run("cp", `${loader.folder}/${loader.file}`, `${boot}/BOOTX64.EFI`);
    const from = `${loader.folder.slice(efi.length + 1)}/${loader.file}`;
    return [{ name: "efi-boot", detail: `EFI/BOOT/BOOTX64.EFI made of EFI/${from}` }];
  });
}

/**
 * With the EFI system partition at hand, whether the guest mounts it or not; `efi` is its folder EFI,
 * undefined where there is none.
 */
export async function withEsp<T>(
  guestfish: Guestfish,
  work: (efi: string | undefined) => Promise<T>,
): Promise<T> {
  const device = await findEsp(guestfish);
  if (device === undefined) return work(undefined);
  const mounted = (await guestfish.lines("mountpoints")).find((line) =>
    line.startsWith(`${device}: `),
  );
  if (mounted !== undefined)
    return work(await child(guestfish, mounted.slice(device.length + 2), "EFI"));
  await guestfish
    .run("mkmountpoint", mountPoint)
    .catch(() => guestfish.attempt("mkdir-p", mountPoint));
  await guestfish.run("mount", device, mountPoint);
  try {
    return await work(await child(guestfish, mountPoint, "EFI"));
  } finally {
    await guestfish.attempt("umount", mountPoint);
    await guestfish.attempt("rmdir", mountPoint);
  }
}

/** By its type in a GPT; on an MBR it is 0xef. */
async function findEsp(guestfish: Guestfish): Promise<string | undefined> {
  for (const partition of await guestfish.lines("list-partitions")) {
    const disk = (await guestfish.run("part-to-dev", partition)).trim();
    const number = (await guestfish.run("part-to-partnum", partition)).trim();
    const gpt = await guestfish.attempt("part-get-gpt-type", disk, number);
    const mbr =
      gpt === undefined ? await guestfish.attempt("part-get-mbr-id", disk, number) : undefined;
    if (gpt?.trim() === espType || mbr?.trim() === "0xef") return partition;
  }
  return undefined;
}

export async function hasFallback(guestfish: Guestfish, efi: string): Promise<boolean> {
  const boot = await child(guestfish, efi, "BOOT");
  if (boot === undefined) return false;
  return (await child(guestfish, boot, "BOOTX64.EFI")) !== undefined;
}

async function findLoader(guestfish: Guestfish, efi: string): Promise<EfiLoader | undefined> {
  const folders: string[] = [];
  for (const name of await filesIn(guestfish, efi)) {
    const folder = `${efi}/${name}`;
    // Windows keeps its own one folder deeper.
    if (/^microsoft$/i.test(name)) folders.push((await child(guestfish, folder, "Boot")) ?? folder);
    else if (!/^boot$/i.test(name)) folders.push(folder);
  }
  for (const wanted of loaders) {
    for (const folder of folders) {
      const file = (await filesIn(guestfish, folder)).find((name) => name.toLowerCase() === wanted);
      if (file !== undefined) return { folder, file };
    }
  }
  return undefined;
}

/** FAT does not care for capitals, libguestfs does. */
async function child(guestfish: Guestfish, folder: string, wanted: string) {
  const names = await filesIn(guestfish, folder);
  const name = names.find((each) => each.toLowerCase() === wanted.toLowerCase());
  return name === undefined ? undefined : `${folder}/${name}`.replace("//", "/");
}
