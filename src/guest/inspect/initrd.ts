/** The files of an initial RAM disk: cpio archives one after the other, the last ones compressed. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { promisify } from "node:util";
import { gunzip, zstdDecompress } from "node:zlib";
import { unlz4 } from "./lz4.ts";

/** Unpacked; more is no RAM disk. */
const bytesMax = 1024 * 1024 * 1024;
const headerBytes = 110;

export interface InitrdFile {
  readonly name: string;
  readonly bytes: number;
}

/** @throws Error, in words, for a form that is not known here */
export async function filesOfInitrd(image: Buffer): Promise<InitrdFile[]> {
  const found: InitrdFile[] = [];
  let rest = image;
  for (;;) {
    const start = rest.findIndex((byte) => byte !== 0);
    if (start < 0) return found;
    rest = rest.subarray(start);
    if (isCpio(rest)) {
      const { files, end } = readCpio(rest);
      found.push(...files);
      rest = rest.subarray(end);
      continue;
    }
    // What is compressed goes to the end of the file, but for one that is cut into segments of lz4.
    rest = await unpack(rest);
    if (!isCpio(rest)) throw new Error("what is packed in it is no cpio archive");
  }
}

function isCpio(bytes: Buffer): boolean {
  return /^07070[12]$/.test(bytes.subarray(0, 6).toString("latin1"));
}

/** "newc" (cpio(5)): names end with a NUL, names and contents begin at multiples of four. */
function readCpio(bytes: Buffer): { files: InitrdFile[]; end: number } {
  const files: InitrdFile[] = [];
  let at = 0;
  while (isCpio(bytes.subarray(at, at + 6))) {
    const field = (index: number) =>
      Number.parseInt(bytes.toString("latin1", at + 6 + index * 8, at + 14 + index * 8), 16);
    const [size, nameBytes] = [field(6), field(11)];
    if (!Number.isSafeInteger(size) || !Number.isSafeInteger(nameBytes)) break;
    const name = bytes.toString("utf8", at + headerBytes, at + headerBytes + nameBytes - 1);
    at = align(align(at + headerBytes + nameBytes) + size);
    if (name === "TRAILER!!!") break;
    files.push({ name: name.replace(/^\.?\//, ""), bytes: size });
  }
  return { files, end: Math.max(at, 1) };
}

const align = (offset: number): number => Math.ceil(offset / 4) * 4;

async function unpack(bytes: Buffer): Promise<Buffer> {
  const magic = bytes.subarray(0, 6).toString("hex");
  if (magic.startsWith("1f8b")) {
    return promisify(gunzip)(bytes, { maxOutputLength: bytesMax });
  }
  if (magic.startsWith("28b52ffd")) {
    return promisify(zstdDecompress)(bytes, { maxOutputLength: bytesMax });
  }
  if (magic.startsWith("02214c18") || magic.startsWith("04224d18")) return unlz4(bytes, bytesMax);
  if (magic.startsWith("fd377a585a00")) return filter("xz", ["-dc"], bytes);
  if (magic.startsWith("5d0000")) return filter("xz", ["-dc", "--format=lzma"], bytes);
  if (magic.startsWith("425a68")) return filter("bzip2", ["-dc"], bytes);
  if (magic.startsWith("894c5a4f")) return filter("lzop", ["-dc"], bytes);
  throw new Error(`it is packed in a way that is not known here (it begins with ${magic})`);
}

/** Forms that are rare today are left to their own programs, which libguestfs brings with it. */
async function filter(program: string, args: readonly string[], bytes: Buffer): Promise<Buffer> {
  const child = spawn(program, args, { env: {}, stdio: ["pipe", "pipe", "ignore"] });
  const pieces: Buffer[] = [];
  let length = 0;
  child.stdout.on("data", (piece: Buffer) => {
    length += piece.length;
    if (length > bytesMax) child.kill("SIGKILL");
    else pieces.push(piece);
  });
  child.stdin.on("error", () => {});
  child.stdin.end(bytes);
  try {
    await once(child, "close");
  } catch {
    throw new Error(`it takes the program ${program} to unpack it, which is not here`);
  }
  // Trailing zeroes are rubbish to these programs, which they complain of at the end.
  if (length === 0) throw new Error(`${program} cannot unpack it`);
  return Buffer.concat(pieces);
}
