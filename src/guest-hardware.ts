/**
 * The machine as VMware has it: what a conversion and a boot need to know of it. Read with the VM, kept in
 * state, or given by flags.
 */
export interface GuestHardware {
  readonly name: string;
  readonly firmware: "bios" | "uefi";
  readonly secureBoot: boolean;
  readonly cpus: number;
  readonly memoryMiB: number;
  /** vSphere's, such as `debian12_64Guest`. */
  readonly guestId?: string;
  readonly nics: readonly GuestNic[];
}

export interface GuestNic {
  /** Six octets, lower case, with colons. */
  readonly mac: string;
  /** Name of the network or port group. */
  readonly network?: string;
  /** As VMware Tools told them last: `192.0.2.7` or `192.0.2.7/24`. */
  readonly addresses: readonly string[];
}

/** `192.0.2.7/24` and `192.0.2.7` are one address. */
export function withoutLength(address: string): string {
  return address.split("/", 1)[0]!;
}
