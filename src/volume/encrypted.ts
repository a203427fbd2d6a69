/** Which parts of a disk are encrypted, by what their first sectors say. */
import { type Fields, understood } from "./fields.ts";
import { logicalVolumes } from "./lvm.ts";
import { partitionsOf } from "./partitions.ts";
import { DiskBlocks, type ReadDisk, Space } from "./space.ts";
import { Wishes } from "./wishes.ts";

export interface EncryptedPart {
  readonly kind: "LUKS" | "BitLocker";
  /** Where it begins on the disk. */
  readonly offsetBytes: number;
  /** Of LUKS, in lower case. */
  readonly uuid?: string;
}

const headBytes = 512;

/**
 * The disk itself, its partitions and the linear logical volumes that lie on it, in their order.
 * @throws what `read` throws, and nothing else
 */
export async function listEncryptedParts(
  read: ReadDisk,
  capacityBytes: number,
): Promise<EncryptedPart[]> {
  const wishes = new Wishes(); // what the parsers ask for besides is not wanted here
  const disk = Space.ofDisk(new DiskBlocks(read, capacityBytes));
  const spaces = [disk, ...(await understood(() => partitionsOf(disk, wishes), []))];
  const found: EncryptedPart[] = [];
  for (const space of spaces) {
    const volumes = await understood(() => logicalVolumes(space, wishes), []);
    for (const each of [space, ...volumes]) {
      const head = await understood(() => each.readHead(headBytes), undefined);
      const part = head && partOf(head, each.onDisk(0, headBytes)[0]?.diskOffset ?? 0);
      if (part !== undefined) found.push(part);
    }
  }
  return found;
}

/** Both forms of LUKS have the UUID in one place; BitLocker's boot sector begins with a jump. */
function partOf(head: Fields, offsetBytes: number): EncryptedPart | undefined {
  if (head.bytes.length < headBytes) return undefined;
  if (head.text(3, 8) === "-FVE-FS-") return { kind: "BitLocker", offsetBytes };
  if (head.text(0, 6) !== "LUKS\xba\xbe") return undefined;
  const [uuid = ""] = head.text(168, 40).split("\0", 1);
  return { kind: "LUKS", offsetBytes, uuid: uuid.toLowerCase() };
}
