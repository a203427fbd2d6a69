/** Identifiers of CloudStack and what follows from them; nothing here asks anybody. */

/**
 * The serial that a volume's disk shows in the instance: the first 20 characters of its id without
 * hyphens (KVM's agent; virtio has no room for more).
 */
export function serialOf(volumeId: string): string {
  return volumeId.replaceAll("-", "").slice(0, 20);
}

/** Whole GiB, as createVolume takes them. */
export function gibFor(bytes: number): number {
  return Math.ceil(bytes / 1024 ** 3);
}
