import type { DiskRecords } from "./disk-records.ts";
import type { VmIdentity } from "./vm-identity.ts";

/**
 * Where the change ID of each disk's last good copy is kept. The local store holds it with the
 * disk's record; the OMA API is the authority when the appliance manages a job (migration/cycle/oma-change-ids.ts).
 */
export interface ChangeIdStore {
  readonly kind: "local" | "oma";
  /**
   * Undefined: no change ID is stored, or a full copy was begun on the target since and did not
   * finish. Throws `change-id-read` or `state-unusable`: not knowing is not 'none'.
   */
  read(vm: VmIdentity, deviceKey: number, signal?: AbortSignal): Promise<string | undefined>;
  /**
   * After `DiskRecords.writeDiskRecord` with the same change ID. `previous` is what `read` gave.
   * Throws `change-id-write`; the ID is then kept locally and the next run uses it.
   */
  write(
    vm: VmIdentity,
    deviceKey: number,
    changeId: string,
    previous: string | undefined,
    signal?: AbortSignal,
  ): Promise<void>;
}

/** The change ID is part of the disk's record, so that both are stored in one transaction. */
export class LocalChangeIdStore implements ChangeIdStore {
  readonly kind = "local";
  readonly #records: DiskRecords;

  constructor(records: DiskRecords) {
    this.#records = records;
  }

  async read(vm: VmIdentity, deviceKey: number): Promise<string | undefined> {
    return this.#records.readDiskRecord(vm, deviceKey)?.changeId;
  }

  /** Nothing is left to do but to hold the caller to the order: record first. */
  async write(vm: VmIdentity, deviceKey: number, changeId: string): Promise<void> {
    const stored = this.#records.readDiskRecord(vm, deviceKey)?.changeId;
    if (stored !== changeId) {
      throw new Error(`Disk ${deviceKey}: writeDiskRecord must store the change ID first`);
    }
  }
}
