// A machine of the lab whose disk is that of the test guest `bios`: it runs, and its guest changes files.

import { open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { applyChanges, type BlockWrite, planChanges } from "../lab/demo-disks.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import type { VmSpec } from "../lab/vcenter/vm-spec.ts";
import { markerPath, mebibyte, recipes } from "./debian/recipe.ts";
import { run } from "./debian/run.ts";

export const guest = recipes.bios;
export const guestKey = 2000;
/** Of its one partition. */
const offset = mebibyte;

export function guestVm(name: string, image: string): VmSpec {
  return {
    name,
    disks: [{ key: guestKey, capacityBytes: guest.diskBytes[0]!, image }],
    hardware: {
      ...{ firmware: "bios", secureBoot: false, cpus: 1, memoryMiB: 768 },
      ...{ guestId: "debian12_64Guest", guestFullName: "Debian GNU/Linux 12 (64-bit)" },
      nics: [{ mac: guest.mac, network: "VM Network", addresses: [guest.address] }],
    },
  };
}

/** Its file system beside it, in which the next changes are made up. */
export class GuestFiles {
  readonly #image: string;
  readonly #folder: string;

  private constructor(image: string, folder: string) {
    this.#image = image;
    this.#folder = folder;
  }

  static async of(disk: string, folder: string): Promise<GuestFiles> {
    const image = join(folder, "guest.ext4");
    const from = [`if=${disk}`, `skip=${offset / mebibyte}`];
    await run("dd", [...from, `of=${image}`, "bs=1M", "conv=sparse", "status=none"]);
    return new GuestFiles(image, folder);
  }

  /** The guest takes another word, which it says when it starts; it may write a file besides. */
  async change(vm: LabVm, word: string, file?: Buffer): Promise<void> {
    const marker = join(this.#folder, "marker");
    const content = join(this.#folder, "content");
    await writeFile(marker, `${word}\n`);
    if (file) await writeFile(content, file);
    const data: [string, string][] = file ? [[content, `/opt/guest/${word}.bin`]] : [];
    const changes = {
      deletes: [markerPath],
      writes: [[marker, markerPath] as [string, string], ...data],
    };
    const writes = await planChanges(this.#image, changes, this.#folder);
    await this.#keep(writes);
    await applyChanges(
      vm,
      guestKey,
      writes.map((write) => ({ ...write, offset: write.offset + offset })),
    );
  }

  async #keep(writes: readonly BlockWrite[]): Promise<void> {
    await using file = await open(this.#image, "r+");
    for (const { offset: at, data } of writes) {
      const bytes = Buffer.isBuffer(data) ? data : Buffer.alloc(data.zeroLength);
      await file.write(bytes, 0, bytes.length, at);
    }
  }
}
