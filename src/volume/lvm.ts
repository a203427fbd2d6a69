/** LVM: the label and metadata of a physical volume, and the linear logical volumes that lie on it. */
import { type Fields, NotUnderstood } from "./fields.ts";
import { type LvmSection, parseLvmText } from "./lvm-text.ts";
import type { Space } from "./space.ts";
import type { Wishes } from "./wishes.ts";

const sectorBytes = 512;
const labelSectors = [0, 1, 2, 3];
const metadataHeaderBytes = 4096;
const metadataBytesMax = 1024 * 1024;
const volumesMax = 64;
const segmentsMax = 1024;

/** Those of other physical volumes have gaps here; thin and striped ones are left out. */
export async function logicalVolumes(space: Space, wishes: Wishes): Promise<Space[]> {
  const header = await physicalVolumeHeader(space);
  if (header === undefined) return [];
  const area = metadataArea(header);
  wishes.structure(space, area.offset, metadataHeaderBytes);
  const text = await readMetadata(space, area, wishes);
  const [group] = Object.values(parseLvmText(text)).filter(isSection);
  const uuid = header.text(0, 32);
  return group ? linearVolumes(space, group, uuid) : [];
}

async function physicalVolumeHeader(space: Space): Promise<Fields | undefined> {
  const head = await space.readHead(labelSectors.length * sectorBytes);
  for (const sector of labelSectors) {
    const at = sector * sectorBytes;
    if (at + sectorBytes > head.bytes.length) return undefined;
    const label = head.part(at, sectorBytes);
    if (label.text(0, 8) !== "LABELONE" || label.text(24, 8) !== "LVM2 001") continue;
    const offset = label.u32(20);
    return label.part(offset, sectorBytes - offset);
  }
  return undefined;
}

interface Area {
  readonly offset: number;
  readonly length: number;
}

/** Behind the UUID and the size are two lists of areas, each ended by a zero: data, metadata. */
function metadataArea(header: Fields): Area {
  let at = 40;
  while (header.u64(at) !== 0) at += 16;
  const area = { offset: header.u64(at + 16), length: header.u64(at + 24) };
  if (area.offset === 0) throw new NotUnderstood("a physical volume without metadata");
  return area;
}

/** The metadata is a text in a ring that begins behind the area's header. */
async function readMetadata(space: Space, area: Area, wishes: Wishes): Promise<string> {
  const header = await space.read(area.offset, sectorBytes);
  if (!header.text(4, 16).startsWith(" LVM2 x[5A%r0N*>")) throw new NotUnderstood("no area");
  const offset = header.u64(40);
  const length = header.u64(48);
  if (length > metadataBytesMax || offset < sectorBytes || offset >= area.length) {
    throw new NotUnderstood("metadata of no place");
  }
  const before = Math.min(length, area.length - offset);
  const parts = [
    { at: area.offset + offset, length: before },
    { at: area.offset + sectorBytes, length: length - before },
  ];
  let text = "";
  for (const part of parts) {
    wishes.structure(space, part.at, part.length);
    text += (await space.read(part.at, part.length)).text(0, part.length);
  }
  return text;
}

function linearVolumes(space: Space, group: LvmSection, uuid: string): Space[] {
  const extentBytes = numberIn(group, "extent_size") * sectorBytes;
  const own = Object.entries(sectionsIn(group, "physical_volumes")).find(
    ([, volume]) => String(volume.id).replaceAll("-", "") === uuid,
  );
  if (!own) throw new NotUnderstood("a physical volume that its own metadata does not name");
  const [name, volume] = own;
  const dataAt = numberIn(volume, "pe_start") * sectorBytes;
  return Object.values(sectionsIn(group, "logical_volumes"))
    .slice(0, volumesMax)
    .map((logical) =>
      space.arranged(
        Object.values(logical)
          .filter(isSection)
          .slice(0, segmentsMax)
          .flatMap((segment) => {
            const at = placeOf(segment, name);
            if (at === undefined) return [];
            return {
              offset: numberIn(segment, "start_extent") * extentBytes,
              at: dataAt + at * extentBytes,
              length: numberIn(segment, "extent_count") * extentBytes,
            };
          }),
      ),
    )
    .filter(({ sizeBytes }) => sizeBytes > 0);
}

/** The first extent of a segment on this physical volume, if it lies there in one piece. */
function placeOf(segment: LvmSection, physicalVolume: string): number | undefined {
  const { type, stripes } = segment;
  if ((type !== "striped" && type !== "linear") || !Array.isArray(stripes)) return undefined;
  const [name, extent] = stripes;
  const here = stripes.length === 2 && name === physicalVolume && typeof extent === "number";
  return here ? extent : undefined;
}

function isSection(value: unknown): value is LvmSection {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function numberIn(section: LvmSection, name: string): number {
  const value = section[name];
  if (typeof value !== "number") throw new NotUnderstood(`${name} is not a number`);
  return value;
}

function sectionsIn(section: LvmSection, name: string): Record<string, LvmSection> {
  const value = section[name];
  if (!isSection(value)) throw new NotUnderstood(`${name} is not there`);
  return Object.fromEntries(
    Object.entries(value).filter(([, inner]) => isSection(inner)),
  ) as Record<string, LvmSection>;
}
