/** A virtual machine of the lab: its disks, snapshots, change tracking and guest. */

import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { ChangeMap } from "./change-map.ts";
import { deltaFileName, leaveTree, mergeFiles, moveFiles } from "./file-names.ts";
import { writeFrozenCopy } from "./frozen-copies.ts";
import { Guest, type RandomWritesOptions } from "./guest.ts";
import { vAppPath } from "./inventory-paths.ts";
import { imagePathOf, type LabDisk, openFrozenMap } from "./lab-disk.ts";
import { newSnapshotRecord } from "./new-records.ts";
import { inventoryName, type SnapshotRecord, type VmRecord } from "./records.ts";
import { Serial } from "./serial.ts";
import { historyOf, isInSnapshots, newHistory, resetTracking, startTracking } from "./tracking.ts";
import { VmDisks } from "./vm-disks.ts";
import type { VmEnvironment } from "./vm-environment.ts";
import type { DiskSpec, PowerState } from "./vm-spec.ts";

export class LabVm {
  readonly record: VmRecord;
  readonly guest: Guest;
  /** Tasks on one machine run one after another, as on a host. */
  readonly tasks = new Serial();
  /** Morefs of the newest tasks. */
  readonly recentTasks: string[] = [];
  readonly #environment: VmEnvironment;
  readonly #disks: VmDisks;
  /** Guest writes and the freeze exclude each other: this is the stun. */
  readonly #stun = new Serial();

  constructor(record: VmRecord, disks: LabDisk[], environment: VmEnvironment) {
    this.record = record;
    this.#disks = new VmDisks(record, disks, environment, this.#stun);
    this.#environment = environment;
    this.guest = new Guest(this);
  }

  get moref(): string {
    return this.record.moref;
  }

  get name(): string {
    return this.record.name;
  }

  /** Inventory path, as `--vmware-path` takes it. */
  get path(): string {
    const above = vAppPath(this.record) ?? this.record.folder;
    const folder = above === "" ? "" : `${above}/`;
    return `/${this.#environment.datacenterName}/vm/${folder}${inventoryName(this.record.name)}`;
  }

  get changeTrackingSupported(): boolean {
    const { faults } = this.#environment;
    return (
      this.record.changeTrackingSupported && !faults.peek("cbtNotSupported", { vm: this.name })
    );
  }

  get disks(): LabDisk[] {
    return this.#disks.all();
  }

  get snapshots(): readonly SnapshotRecord[] {
    return this.record.snapshots;
  }

  disk(key: number): LabDisk {
    const disk = this.#disks.find(key);
    if (!disk) throw new RangeError(`${this.name} has no disk ${key}`);
    return disk;
  }

  snapshot(moref: string): SnapshotRecord | undefined {
    return this.record.snapshots.find((snapshot) => snapshot.moref === moref);
  }

  /** Where the copies made at a snapshot are; they outlive the snapshot. */
  frozenDirectory(snapshotMoref: string): string {
    return path.join(this.#environment.labDir, "frozen", snapshotMoref);
  }

  frozenImage(snapshotMoref: string, key: number): string {
    return imagePathOf(this.frozenDirectory(snapshotMoref), key);
  }

  /** A write of the guest; offset and length in bytes, multiples of 512. Waits while a snapshot is frozen. */
  write(key: number, offset: number, data: Buffer | { zeroLength: number }): Promise<void> {
    return this.#stun.run(() => this.disk(key).write(offset, data));
  }

  /** Scattered writes from a seed; resolves to what was written. */
  randomWrites(key: number, options: RandomWritesOptions) {
    return this.guest.randomWrites(key, options);
  }

  /** Sets power, quietly (`poweredOn` is a stun, so tracking may begin). */
  setPowerState(powerState: PowerState): void {
    this.record.powerState = powerState;
    if (powerState === "poweredOn") startTracking(this, this.#environment.faults);
    this.#environment.changed();
  }

  /** Changes what an administrator or the guest would change behind our back. */
  set(
    change: Partial<
      Pick<
        VmRecord,
        | ("tools" | "hardwareVersion" | "consolidationNeeded" | "changeTrackingEnabled")
        | ("template" | "name" | "folder" | "hardware" | "connectionState")
      >
    >,
  ): void {
    Object.assign(this.record, change);
    this.#environment.changed();
  }

  /**
   * To another host, or one disk or all to another datastore (storage motion), also while snapshots
   * exist. Change tracking goes on, or starts over, and then no ID given before is known any more.
   */
  move(to: { host?: string; datastore?: string; key?: number; resetTracking?: boolean }): void {
    if (to.host !== undefined) this.record.host = to.host;
    if (to.datastore !== undefined) moveFiles(this.record, to.datastore, to.key);
    if (to.resetTracking) this.resetChangeTracking(to.key);
    this.#environment.changed();
  }

  /** Merges what removed snapshots left; files that snapshots use may get other names. */
  consolidate(): Promise<void> {
    return this.#stun.run(async () => {
      mergeFiles(this.record);
      this.set({ consolidationNeeded: false });
    });
  }

  /**
   * What changed on a disk after a change ID (`*`: what was ever allocated), until now or until a snapshot, as
   * pairs [offset, length] of whole blocks. The truth to check clients against.
   */
  changedSince(key: number, changeId: string, snapshotMoref?: string): Float64Array {
    const then = snapshotMoref === undefined ? undefined : this.frozenImage(snapshotMoref, key);
    const map = then === undefined ? this.disk(key) : openFrozenMap(then);
    try {
      if (changeId === "*") return map.allocated();
      const [uuid, epoch] = changeId.split("/");
      const history = this.disk(key).record.trackingUuid;
      if (uuid !== history)
        throw new RangeError(`${changeId} is of another history than ${history}`);
      return map.changedAfter(Number(epoch));
    } finally {
      if (map instanceof ChangeMap) map.close();
    }
  }

  /** Stuns the guest, copies all disks at one instant and lets it go on. */
  async createSnapshot(
    options: { name: string; description: string; quiesced: boolean },
    moref = `snapshot-${this.#environment.nextNumber()}`,
  ): Promise<SnapshotRecord> {
    return this.#stun.run(async () => {
      startTracking(this, this.#environment.faults);
      const reset = this.#environment.faults.take("cbtReset", { vm: this.name });
      if (reset) this.resetChangeTracking(reset.key);
      const directory = this.frozenDirectory(moref);
      await rm(directory, { recursive: true, force: true });
      await mkdir(directory, { recursive: true });
      const frozen = this.disks.filter((disk) => isInSnapshots(disk.record));
      await Promise.all(frozen.map((disk) => disk.freezeInto(directory)));
      const snapshot = newSnapshotRecord(this.record, moref, options);
      for (const { record } of frozen) {
        record.fileName = deltaFileName(record.fileName, record.nextDelta);
        record.nextDelta += 1;
        record.epoch += 1;
      }
      this.record.snapshots.push(snapshot);
      this.record.currentSnapshot = moref;
      this.#environment.changed();
      // Last, so that a copy whose making was cut short is never taken for one.
      writeFrozenCopy(this.#environment.labDir, this.record, snapshot);
      return snapshot;
    });
  }

  /** Without `merge` its files stay, to be consolidated later. */
  removeSnapshot(moref: string, options: { removeChildren?: boolean; merge?: boolean } = {}): void {
    const removed = this.snapshot(moref);
    if (!removed) return;
    if (options.removeChildren) {
      for (const child of this.record.snapshots.filter((other) => other.parent === moref)) {
        this.removeSnapshot(child.moref, options);
      }
    }
    leaveTree(this.record, removed, options.merge !== false);
    if (options.merge === false) this.record.consolidationNeeded = true;
    this.record.snapshots = this.record.snapshots.filter((other) => other !== removed);
    this.#environment.changed();
  }

  renameSnapshot(moref: string, change: { name?: string; description?: string }): void {
    Object.assign(this.snapshot(moref) ?? {}, change);
    this.#environment.changed();
  }

  /**
   * Back to a snapshot: content, and a new tracking history (the old change IDs are void). With
   * `keepTracking` the history itself goes back, so that numbers given since are given again.
   */
  async revertTo(moref: string, options: { keepTracking?: boolean } = {}): Promise<void> {
    const snapshot = this.snapshot(moref);
    if (!snapshot) throw new RangeError(`${this.name} has no snapshot ${moref}`);
    await this.#stun.run(async () => {
      for (const then of snapshot.disks.filter((disk) => disk.frozen)) {
        const disk = this.#disks.find(then.key);
        if (!disk) continue;
        await disk.revertTo(this.frozenDirectory(moref));
        disk.record.fileName = deltaFileName(then.fileName, disk.record.nextDelta);
        disk.record.nextDelta += 1;
        if (options.keepTracking) historyOf(disk.record, then);
        else newHistory(disk.record);
      }
      this.record.currentSnapshot = moref;
      this.#environment.changed();
    });
  }

  /** A new tracking UUID, as after a crash of the host or a deleted ctk file. All disks, or one. */
  resetChangeTracking(key?: number): void {
    resetTracking(this.record, key === undefined ? key : this.disk(key).record.key);
    this.#environment.changed();
  }

  growDisk(key: number, capacityBytes: number): Promise<void> {
    return this.#disks.grow(key, capacityBytes);
  }

  addDisk(spec: DiskSpec): Promise<LabDisk> {
    return this.#disks.add(spec);
  }

  /** The same disk at another unit or controller, hence under another key. */
  rekeyDisk(key: number, newKey: number): Promise<void> {
    return this.#disks.rekey(key, newKey);
  }

  /** The image stays in the lab; the machine just has the disk no more. */
  removeDisk(key: number): Promise<void> {
    return this.#disks.remove(key);
  }

  async close(): Promise<void> {
    await this.guest.stop();
    await this.#stun.run(async () => {
      await Promise.all(this.disks.map((disk) => disk.close()));
    });
  }
}
