// A registry hive with nothing in it but its root, written by hand (the form is that of "regf" 1.5);
// hivexregedit fills it.

import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { promisify } from "node:util";

const blockBytes = 4096;
const rootOffset = 0x20;
const none = 0xffff_ffff;
const securityBytes = 20;

/** Values by key, as a .reg file has them: [["Select", {Current: "dword:00000001"}]]. */
export type Registry = readonly (readonly [
  key: string,
  values: Readonly<Record<string, string>>,
])[];

export async function makeHive(path: string, registry: Registry): Promise<void> {
  await writeFile(path, emptyHive());
  const lines = ["Windows Registry Editor Version 5.00", ""];
  for (const [key, values] of registry) {
    lines.push(`[\\${key}]`);
    lines.push(...Object.entries(values).map(([name, value]) => `"${name}"=${value}`), "");
  }
  await writeFile(`${path}.reg`, lines.join("\n"));
  await promisify(execFile)("hivexregedit", ["--merge", path, `${path}.reg`]);
}

function emptyHive(): Buffer {
  const header = Buffer.alloc(blockBytes);
  header.write("regf", 0, "latin1");
  header.writeUInt32LE(1, 4);
  header.writeUInt32LE(1, 8);
  header.writeUInt32LE(1, 20);
  header.writeUInt32LE(5, 24);
  header.writeUInt32LE(1, 32);
  header.writeUInt32LE(rootOffset, 36);
  header.writeUInt32LE(blockBytes, 40);
  header.writeUInt32LE(1, 44);
  let sum = 0;
  for (let at = 0; at < 508; at += 4) sum ^= header.readUInt32LE(at);
  header.writeUInt32LE(sum >>> 0, 508);
  return Buffer.concat([header, firstBlock()]);
}

/** The root's key, its security descriptor, and room. */
function firstBlock(): Buffer {
  const block = Buffer.alloc(blockBytes);
  block.write("hbin", 0, "latin1");
  block.writeUInt32LE(blockBytes, 8);
  const securityOffset = rootOffset + 88;
  const key = block.subarray(rootOffset);
  key.writeInt32LE(-88, 0); // in use: its size, negative
  key.write("nk", 4, "latin1");
  key.writeUInt16LE(0x2c, 6); // root, may not be deleted, name in Latin-1
  key.writeUInt32LE(none, 20);
  for (const at of [32, 36, 44, 52]) key.writeUInt32LE(none, at);
  key.writeUInt32LE(securityOffset, 48);
  key.writeUInt16LE(4, 76);
  key.write("ROOT", 80, "latin1");
  const security = block.subarray(securityOffset);
  security.writeInt32LE(-48, 0);
  security.write("sk", 4, "latin1");
  security.writeUInt32LE(securityOffset, 8);
  security.writeUInt32LE(securityOffset, 12);
  security.writeUInt32LE(1, 16);
  security.writeUInt32LE(securityBytes, 20);
  security.writeUInt32LE(0x8004_0001, 24); // a descriptor that grants and denies nothing
  const free = securityOffset + 48;
  block.writeInt32LE(blockBytes - free, free);
  return block;
}
