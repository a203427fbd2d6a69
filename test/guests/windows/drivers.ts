// What virt-v2v takes from elsewhere: a tree of virtio-win with files that say where they come from, and
// the helper that runs programs at the first boot.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

const drivers = { viostor: "viostor", vioscsi: "vioscsi", NetKVM: "netkvm", Balloon: "balloon" };

/** A folder for --virtio-win with drivers for these folders of releases: 2k22, w11. */
export async function makeVirtioWin(parent: string, releases: readonly string[]): Promise<string> {
  const root = join(parent, "virtio-win");
  await mkdir(root, { recursive: true });
  for (const [folder, name] of Object.entries(drivers)) {
    for (const release of releases) {
      const place = join(root, folder, release, "amd64");
      await mkdir(place, { recursive: true });
      for (const ending of ["inf", "sys", "cat"]) {
        await writeFile(join(place, `${name}.${ending}`), `phony ${folder} ${release} ${ending}\n`);
      }
    }
  }
  return root;
}

/** To be given as VIRT_TOOLS_DATA_DIR. */
export async function makeVirtTools(parent: string): Promise<string> {
  const folder = join(parent, "virt-tools");
  await mkdir(folder, { recursive: true });
  for (const name of ["rhsrvany.exe", "pnp_wait.exe"]) await writeFile(join(folder, name), "phony");
  return folder;
}
