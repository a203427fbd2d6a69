/** LUKS: what is inside cannot be read, but where its first MiB lies is told. */
import { type Fields, NotUnderstood } from "./fields.ts";
import type { Space } from "./space.ts";
import type { Wishes } from "./wishes.ts";

const jsonAt = 4096;
const jsonBytesMax = 4 * 2 ** 20;

/** A file system inside writes its superblock: other plain text, other cipher text. */
export async function lookForLuks(space: Space, head: Fields, wishes: Wishes): Promise<void> {
  if (head.text(0, 6) !== "LUKS\xba\xbe") return;
  const payload = head.u16be(6) === 1 ? head.u32be(104) * 512 : await segmentOffset(space, head);
  wishes.head(space.part(payload, space.sizeBytes));
}

async function segmentOffset(space: Space, head: Fields): Promise<number> {
  const length = head.u64be(8) - jsonAt;
  if (length <= 0 || length > jsonBytesMax) throw new NotUnderstood("a header of no size");
  const text = (await space.read(jsonAt, length)).text(0, length);
  const [json = ""] = text.split("\0", 1);
  const offset = offsetIn(json);
  if (typeof offset !== "string" || !/^\d{1,15}$/.test(offset)) throw new NotUnderstood("no place");
  return Number(offset);
}

function offsetIn(json: string): unknown {
  try {
    const [segment] = Object.values<{ offset?: unknown }>(JSON.parse(json).segments);
    return segment?.offset;
  } catch {
    throw new NotUnderstood("no JSON");
  }
}
