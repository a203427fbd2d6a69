/** The machine whose volumes are made to boot: what it was at VMware, and where its disks are. */

export type { GuestHardware, GuestNic } from "../guest-hardware.ts";

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
