/** Disks of this machine by their serial, as udev links them. */
import { readdir, realpath } from "node:fs/promises";
import { join } from "node:path";
import { hasSystemCode } from "../../errors.ts";

/** A whole disk of virtio or of virtio-scsi; partitions have `-part1` behind. */
const linkForm = /^(?:virtio-|scsi-(?:\w*_)?)([0-9a-f]{20})$/;

/**
 * Serial of a volume (cloudstack/names.ts) to the device that its link leads to. A folder that is not there is one
 * of a machine without such disks. @throws the system's error for one that cannot be read
 */
export async function devicesBySerial(folder: string): Promise<Map<string, string>> {
  const devices = new Map<string, string>();
  for (const name of await namesIn(folder)) {
    const [, serial] = linkForm.exec(name) ?? [];
    if (serial === undefined) continue;
    const device = await realpath(join(folder, name)).catch(() => undefined);
    if (device !== undefined) devices.set(serial, device);
  }
  return devices;
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (hasSystemCode(error, "ENOENT")) return [];
    throw error;
  }
}
