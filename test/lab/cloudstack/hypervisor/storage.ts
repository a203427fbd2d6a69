/** Volumes as files, and the appliance's devices as symbolic links to them, as /dev/disk/by-id has them. */

import { execFile } from "node:child_process";
import { mkdir, open, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { internalError } from "../api/api-error.ts";
import { serialOf, type VolumeRecord } from "../world/records.ts";
import { type Holder, holdersOf } from "./holders.ts";

const pollMs = 20;

export class VolumeStorage {
  readonly #folder: string;
  /** Stands for /dev/disk/by-id of the appliance. */
  readonly deviceFolder: string;

  private constructor(folder: string) {
    this.#folder = join(folder, "volumes");
    this.deviceFolder = join(folder, "disk", "by-id");
  }

  static async in(folder: string): Promise<VolumeStorage> {
    const storage = new VolumeStorage(folder);
    await mkdir(storage.#folder, { recursive: true });
    await mkdir(storage.deviceFolder, { recursive: true });
    return storage;
  }

  fileOf(volumeId: string): string {
    return join(this.#folder, `${volumeId}.raw`);
  }

  deviceOf(volumeId: string): string {
    return join(this.deviceFolder, `virtio-${serialOf(volumeId)}`);
  }

  /** A volume comes to be at its first use; later this does nothing. */
  async provide({ id, sizeBytes }: VolumeRecord): Promise<void> {
    await using file = await open(this.fileOf(id), "a");
    const { size } = await file.stat();
    if (size < sizeBytes) await file.truncate(sizeBytes);
  }

  /** As it is at this moment; holes stay holes. */
  async copy(fromId: string, toId: string): Promise<void> {
    const how = ["--reflink=auto", "--sparse=always"];
    await promisify(execFile)("cp", [...how, this.fileOf(fromId), this.fileOf(toId)]);
  }

  async remove(volumeId: string): Promise<void> {
    await rm(this.fileOf(volumeId), { force: true });
  }

  async plug(volumeId: string): Promise<void> {
    await rm(this.deviceOf(volumeId), { force: true });
    await symlink(this.fileOf(volumeId), this.deviceOf(volumeId));
  }

  /**
   * The device goes at once; whoever has it open is waited for. @throws where somebody still has it open
   * after that time: the device is back then
   */
  async unplug(volumeId: string, timeoutMs: number): Promise<void> {
    await rm(this.deviceOf(volumeId), { force: true });
    const deadlineMs = performance.now() + timeoutMs;
    for (;;) {
      const [holder] = this.holders(volumeId);
      if (holder === undefined) return;
      if (performance.now() > deadlineMs) {
        await this.plug(volumeId);
        throw internalError(
          `Failed to detach volume ${volumeId}: the device is in use by ${describeHolder(holder)}`,
        );
      }
      await sleep(pollMs);
    }
  }

  holders(volumeId: string, except?: ReadonlySet<number>): Holder[] {
    return holdersOf(this.fileOf(volumeId), except);
  }
}

export function describeHolder({ pid, commandLine }: Holder): string {
  return `process ${pid} (${commandLine.slice(0, 120)})`;
}
