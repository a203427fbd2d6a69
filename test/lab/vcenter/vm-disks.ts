/** The disks of a machine, and how they come, grow, move and go. */

import path from "node:path";
import { LabDisk, moveDiskFiles } from "./lab-disk.ts";
import { newDiskRecord, placeDisk } from "./new-records.ts";
import type { VmRecord } from "./records.ts";
import type { Serial } from "./serial.ts";
import type { VmEnvironment } from "./vm-environment.ts";
import type { DiskSpec } from "./vm-spec.ts";

export class VmDisks {
  readonly #vm: VmRecord;
  readonly #byKey: Map<number, LabDisk>;
  readonly #environment: VmEnvironment;
  readonly #stun: Serial;

  constructor(vm: VmRecord, disks: LabDisk[], environment: VmEnvironment, stun: Serial) {
    this.#vm = vm;
    this.#byKey = new Map(disks.map((disk) => [disk.record.key, disk]));
    this.#environment = environment;
    this.#stun = stun;
  }

  all(): LabDisk[] {
    return [...this.#byKey.values()];
  }

  find(key: number): LabDisk | undefined {
    return this.#byKey.get(key);
  }

  async add(spec: DiskSpec): Promise<LabDisk> {
    const record = newDiskRecord(this.#vm, spec);
    this.#requireFree(record.key);
    const directory = path.join(this.#environment.labDir, "disks", this.#vm.directory);
    const disk = await LabDisk.create(record, directory, spec);
    this.#vm.disks.push(record);
    this.#byKey.set(record.key, disk);
    this.#environment.changed();
    return disk;
  }

  async grow(key: number, capacityBytes: number): Promise<void> {
    const disk = this.#changeable(key);
    if (capacityBytes <= disk.record.capacityBytes || capacityBytes % 512 !== 0) {
      throw new RangeError(`Cannot grow disk ${key} to ${capacityBytes} bytes`);
    }
    await this.#stun.run(() => disk.grow(capacityBytes));
    this.#environment.changed();
  }

  async rekey(key: number, newKey: number): Promise<void> {
    const disk = this.#changeable(key);
    this.#requireFree(newKey);
    await this.#stun.run(async () => {
      await disk.close();
      const directory = path.dirname(disk.imagePath);
      moveDiskFiles(directory, key, newKey);
      placeDisk(disk.record, newKey);
      this.#byKey.delete(key);
      this.#byKey.set(newKey, await LabDisk.reopen(disk.record, directory));
    });
    this.#environment.changed();
  }

  async remove(key: number): Promise<void> {
    const disk = this.#require(key);
    this.#byKey.delete(key);
    this.#vm.disks = this.#vm.disks.filter((record) => record.key !== key);
    this.#environment.changed();
    await this.#stun.run(() => disk.close());
  }

  #require(key: number): LabDisk {
    const disk = this.#byKey.get(key);
    if (!disk) throw new RangeError(`${this.#vm.name} has no disk ${key}`);
    return disk;
  }

  /** A host refuses to grow or move a disk that has snapshots. */
  #changeable(key: number): LabDisk {
    const disk = this.#require(key);
    if (this.#vm.snapshots.length > 0) throw new RangeError(`${this.#vm.name} has snapshots`);
    return disk;
  }

  #requireFree(key: number): void {
    if (this.#byKey.has(key)) throw new RangeError(`Disk ${key} exists`);
  }
}
