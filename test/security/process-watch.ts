// Looks, as often as it can, at what everybody on the machine can see of a process and its descendants.

import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { descendantsOf } from "../lab/process-table.ts";

export interface Sighting {
  readonly pid: number;
  readonly what: "cmdline" | "environ" | string;
  /** The process's own name, as the kernel has it. */
  readonly name: string;
  readonly atMs: number;
}

export interface Watch {
  /** Where a secret was seen, in the order of time. */
  readonly sightings: Sighting[];
  /** Times at which the watched process itself was seen with clean arguments. */
  readonly cleanAtMs: number[];
  /** Programs seen in the tree, by the first word of their command line. */
  readonly programs: Set<string>;
  /** `coredump_filter` of every nbdkit seen. */
  readonly coreFilters: Map<number, string>;
  samples: number;
  stop(): void;
}

/** Also looks into every file of `folders`, which the processes may fill and empty again. */
export function watchTree(
  root: number,
  forms: readonly Buffer[],
  folders: readonly string[],
): Watch {
  const watch: Watch = {
    sightings: [],
    cleanAtMs: [],
    programs: new Set(),
    coreFilters: new Map(),
    samples: 0,
    stop: () => clearInterval(timer),
  };
  const sample = () => {
    watch.samples += 1;
    const atMs = performance.now();
    for (const pid of [root, ...descendantsOf(root).map((each) => each.pid)])
      look(watch, pid, pid === root, forms, atMs);
    for (const folder of folders)
      for (const path of filesHolding(folder, forms))
        watch.sightings.push({ pid: 0, what: path, name: "file", atMs });
  };
  sample();
  const timer = setInterval(sample, 5);
  return watch;
}

function look(watch: Watch, pid: number, isRoot: boolean, forms: readonly Buffer[], atMs: number) {
  const name = read(`/proc/${pid}/comm`).toString().trim();
  const cmdline = read(`/proc/${pid}/cmdline`);
  const program = cmdline.toString().split("\0", 1)[0] ?? "";
  watch.programs.add(program);
  if (program.includes("nbdkit")) {
    watch.coreFilters.set(pid, read(`/proc/${pid}/coredump_filter`).toString().trim());
  }
  if (holds(cmdline, forms)) watch.sightings.push({ pid, what: "cmdline", name, atMs });
  else if (isRoot && cmdline.length > 0) watch.cleanAtMs.push(atMs);
  if (holds(read(`/proc/${pid}/environ`), forms)) {
    watch.sightings.push({ pid, what: "environ", name, atMs });
  }
}

/** Every way in which text may be written down on its way through JSON, XML, URLs and base64. */
export function formsOf(secret: string): Buffer[] {
  const json = JSON.stringify(secret).slice(1, -1);
  const xml = secret.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  // Base64 depends on where the text begins among bytes that are encoded with it.
  const base64 = ["", "x", "xx"].map((before) => {
    const encoded = Buffer.from(before + secret).toString("base64");
    return encoded.slice(before.length === 0 ? 0 : 4, -4);
  });
  const plain = [secret, json, xml, encodeURIComponent(secret), ...base64];
  const utf16 = Buffer.from(secret, "utf16le");
  return [...new Set(plain)].map((text) => Buffer.from(text)).concat(utf16);
}

/** Paths of the files below `folder` that hold one of the forms. */
export function filesHolding(folder: string, forms: readonly Buffer[]): string[] {
  const found: string[] = [];
  for (const entry of list(folder)) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() && (holds(read(path), forms) || holds(Buffer.from(path), forms))) {
      found.push(path);
    }
  }
  return found;
}

export function holds(bytes: Buffer, forms: readonly Buffer[]): boolean {
  return forms.some((form) => bytes.includes(form));
}

function list(folder: string) {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true });
  } catch {
    return []; // something in it went away meanwhile
  }
}

const fileBytesMax = 64 * 1024 * 1024;

function read(path: string): Buffer {
  try {
    if (!path.startsWith("/proc/") && statSync(path).size > fileBytesMax) {
      throw new RangeError(`${path} is too large to be searched`);
    }
    return readFileSync(path);
  } catch (error) {
    if (error instanceof RangeError) throw error;
    return Buffer.alloc(0); // gone meanwhile
  }
}
