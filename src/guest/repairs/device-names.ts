/**
 * Names of disks in a guest's configuration: /dev/sda1 is the first partition of the first disk at
 * VMware, and what it is elsewhere depends on the controller. A UUID holds everywhere.
 */
import { diskName } from "../v2v/libvirt-xml.ts";

export interface NamedDevice {
  /** As it stands there. */
  readonly name: string;
  /** 0 for sda, hda, vda. */
  readonly diskIndex: number;
  /** Undefined: the disk as a whole. */
  readonly partition?: number;
}

/** sda1, vdb, hdc3, xvda2, and not what merely begins so: /dev/sda-data, /dev/vdo. */
const pattern = /\/dev\/((?:sd|hd|vd|xvd)([a-z]{1,2})(\d{1,3})?)(?![\w/.-])/g;

export function devicesNamedIn(text: string): NamedDevice[] {
  return [...text.matchAll(pattern)].map((match) => deviceOf(match));
}

function deviceOf([name, , letters = "", partition]: RegExpMatchArray | string[]): NamedDevice {
  let count = 0;
  for (const letter of letters) count = count * 26 + (letter.charCodeAt(0) - 96);
  const device = { name: name ?? "", diskIndex: count - 1 };
  return partition === undefined ? device : { ...device, partition: Number(partition) };
}

/** What libguestfs calls it, whose disks are sda, sdb … in their order. */
export function applianceName({ diskIndex, partition }: NamedDevice): string {
  return `/dev/${diskName("sd", diskIndex)}${partition ?? ""}`;
}

export type Uuids = (device: NamedDevice) => string | undefined;

/** A line of fstab(5) or crypttab(5) at a time: only the field that says what is mounted or opened. */
export function withUuidsInTable(text: string, field: 0 | 1, uuidOf: Uuids): string {
  return text
    .split("\n")
    .map((line) => {
      if (/^\s*(#|$)/.test(line)) return line;
      const fields = [...line.matchAll(/\S+/g)];
      const { 0: word = "", index } = fields[field] ?? {};
      const uuid = uuidOfWhole(word, uuidOf);
      if (index === undefined || uuid === undefined) return line;
      return `${line.slice(0, index)}UUID=${uuid}${line.slice(index + word.length)}`;
    })
    .join("\n");
}

/** Options of a kernel wherever they stand, `root=` and `resume=` with a name behind. */
export function withUuidsInOptions(text: string, uuidOf: Uuids, rootUuid?: string): string {
  return text.replace(/\b(root|resume)=(\/dev\/[a-z]+\d*)(?![\w/.-])/gi, (all, key, name) => {
    const uuid = uuidOfWhole(name, uuidOf, key === "root" ? rootUuid : undefined);
    return uuid === undefined ? all : `${key}=UUID=${uuid}`;
  });
}

/** @param known what it is for certain, whatever the name says */
function uuidOfWhole(word: string, uuidOf: Uuids, known?: string): string | undefined {
  const [device, ...others] = devicesNamedIn(word);
  if (device === undefined || others.length > 0 || device.name !== word) return undefined;
  return known ?? uuidOf(device);
}
