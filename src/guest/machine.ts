/** The machine whose volumes are made to boot: what it was at VMware, and where its disks are. */

/** The machine as VMware had it: what a conversion and a boot need to know of it. */
export interface GuestHardware {
  readonly name: string;
  readonly firmware: "bios" | "uefi";
  readonly secureBoot: boolean;
  readonly cpus: number;
  readonly memoryMiB: number;
  /** vSphere's, such as debian12_64Guest. */
  readonly guestId?: string;
  readonly nics: readonly GuestNic[];
}

export interface GuestNic {
  /** Six octets, lower case, with colons. */
  readonly mac: string;
  readonly network?: string;
  /** As VMware Tools last told them: "192.0.2.7" or "192.0.2.7/24". */
  readonly addresses: readonly string[];
}

/** One disk where it lies now. In the order of the VM's controllers, the boot disk first. */
export interface GuestDisk {
  readonly diskId: string;
  /** Its NBD target: nbd, nbds, nbd+unix, nbds+unix. */
  readonly uri: string;
  readonly capacityBytes: number;
}

/** A qcow2 file over a target: it holds what was changed, and the target is only read. */
export interface Overlay {
  readonly disk: GuestDisk;
  readonly path: string;
}
