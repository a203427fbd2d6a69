/** What is known of a machine besides its disks, so that it can be converted where no vCenter is at hand. */
import type { GuestHardware } from "../../guest-hardware.ts";
import type { StateDatabase } from "../database/database.ts";
import { damaged } from "../database/row.ts";
import { ensureVmRow, findVmRow, type VmIdentity } from "../vm-identity.ts";

export interface KnownHardware extends GuestHardware {
  /** Device key of the disk that the boot order names first; absent: the first disk. */
  readonly bootDiskKey?: number;
}

/** Methods throw `state-unusable`. */
export class MachineStore {
  readonly #db: StateDatabase;

  constructor(db: StateDatabase) {
    this.#db = db;
  }

  /** As the last run of the VM found it; undefined where none has since this is kept. */
  readHardware(vm: VmIdentity): KnownHardware | undefined {
    return this.#db.view("Reading what the VM is made of", () =>
      this.#read(findVmRow(this.#db, vm)),
    );
  }

  /**
   * Keeps it. Tools tell no addresses of a machine that is off: a card's last known ones stay then.
   */
  writeHardware(vm: VmIdentity, hardware: KnownHardware): void {
    this.#db.transaction("Noting what the VM is made of", () => {
      const vmId = ensureVmRow(this.#db, vm);
      const known = this.#read(vmId)?.nics ?? [];
      const nics = hardware.nics.map((nic) =>
        nic.addresses.length > 0
          ? nic
          : { ...nic, addresses: known.find(({ mac }) => mac === nic.mac)?.addresses ?? [] },
      );
      this.#db.run(
        "INSERT OR REPLACE INTO hardware (vm_id, description, read_at) VALUES (?, ?, ?)",
        vmId,
        JSON.stringify({ ...hardware, nics }),
        new Date().toISOString(),
      );
    });
  }

  #read(vmId: number | undefined): KnownHardware | undefined {
    const row = vmId && this.#db.get("SELECT * FROM hardware WHERE vm_id = ?", vmId);
    if (!row) return undefined;
    const value = row.json("description");
    if (!isHardware(value)) damaged(this.#db.path, "what a VM is made of has another form");
    return value;
  }
}

function isHardware(value: unknown): value is KnownHardware {
  if (typeof value !== "object" || value === null) return false;
  const fields = new Map<string, unknown>(Object.entries(value));
  const nics = fields.get("nics");
  return (
    typeof fields.get("name") === "string" &&
    ["bios", "uefi"].includes(String(fields.get("firmware"))) &&
    typeof fields.get("secureBoot") === "boolean" &&
    Number.isSafeInteger(fields.get("cpus")) &&
    Number.isSafeInteger(fields.get("memoryMiB")) &&
    ["string", "undefined"].includes(typeof fields.get("guestId")) &&
    ["number", "undefined"].includes(typeof fields.get("bootDiskKey")) &&
    Array.isArray(nics) &&
    nics.every(isNic)
  );
}

function isNic(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { mac, network, addresses } = value as Record<string, unknown>;
  return (
    typeof mac === "string" &&
    ["string", "undefined"].includes(typeof network) &&
    Array.isArray(addresses) &&
    addresses.every((address) => typeof address === "string")
  );
}
