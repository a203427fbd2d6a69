// What the nbdkit tests share: one disk behind the stand-in library, and the proof that nothing of
// a test is left: no process, no socket, no directory.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { pino } from "pino";
import type { VddkSource } from "../../src/nbd/nbdkit/command.ts";
import type { NbdkitInspection } from "../../src/nbd/nbdkit/inspect.ts";
import { processesNaming } from "../lab/process-table.ts";
import {
  installVddk,
  publishSnapshot,
  type VddkLab,
  writeVddkCredentials,
} from "../lab/vddk/install.ts";
import { type NfcListener, startNfcListener } from "../lab/vddk/nfc-listener.ts";

export const run = promisify(execFile);
export const password = "m4rk€r <pass> & 'word'";
export const thumbprint = Array.from({ length: 20 }, (_, i) => (i + 160).toString(16))
  .join(":")
  .toUpperCase();
export const diskPath = "[data store 1] dir, with 'odd' = names/disk %2f ü.vmdk";
export const fixture = (name: string) => join(import.meta.dirname, "fixtures", name);

/** For tests that start programs which do not answer like nbdkit. */
export const anyInspection: NbdkitInspection = {
  nbdkitVersion: "1.32.5",
  pluginVersion: "1.42.3",
  pluginPath: "vddk",
  filters: new Set(),
};

/** A directory of its own under which everything of one test lives. */
export class Scratch implements AsyncDisposable {
  readonly dir: string;
  private constructor(dir: string) {
    this.dir = dir;
  }

  static async make(): Promise<Scratch> {
    return new Scratch(await mkdtemp(join(tmpdir(), "mk-nbd-")));
  }

  /** Fails when a process that was told of this directory still runs, or a workspace is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    const left = (await readdir(this.dir)).filter((name) => name.startsWith("migratekit-nbdkit-"));
    const running = processesNaming(this.dir).map(({ pid }) => pid);
    for (const pid of running) process.kill(pid, "SIGKILL");
    await rm(this.dir, { recursive: true, force: true });
    assert.deepEqual({ left, running }, { left: [], running: [] });
  }
}

/** A logger that keeps its lines, parsed. */
export function recordingLogger() {
  const lines: { level: number; msg: string }[] = [];
  const logger = pino({ level: "trace" }, { write: (line) => void lines.push(JSON.parse(line)) });
  const text = () => lines.map((line) => JSON.stringify(line)).join("\n");
  return { logger, lines, text };
}

export interface VddkFixture extends AsyncDisposable {
  readonly scratch: Scratch;
  readonly lab: VddkLab;
  readonly nfc: NfcListener;
  readonly source: VddkSource;
  /** The frozen image behind the disk. */
  readonly image: string;
  readonly log: ReturnType<typeof recordingLogger>;
}

export async function makeVddkFixture(): Promise<VddkFixture> {
  const scratch = await Scratch.make();
  const lab = await installVddk(scratch.dir);
  const nfc = await startNfcListener();
  const image = join(scratch.dir, "frozen.img");
  await writeFile(image, pattern(3 * 1024 * 1024 + 512));
  await writeVddkCredentials(scratch.dir, {
    username: "admin@vsphere.local",
    password,
    thumbprintSha1: thumbprint,
    nfc: nfc.endpoint,
  });
  await publishSnapshot(scratch.dir, "snapshot-7", [{ vmMoref: "vm-16", diskPath, image }]);
  const source: VddkSource = {
    server: "vcenter.example",
    username: "admin@vsphere.local",
    password,
    thumbprintSha1: thumbprint,
    vmMoref: "vm-16",
    snapshotMoref: "snapshot-7",
    diskPath,
    compression: "none",
    transports: "file:nbdssl:nbd",
    libdir: lab.libdir,
    plugin: lab.plugin,
    nbdkit: "nbdkit",
  };
  return {
    scratch,
    lab,
    nfc,
    source,
    image,
    log: recordingLogger(),
    [Symbol.asyncDispose]: async () => {
      await nfc.stop();
      await scratch[Symbol.asyncDispose]();
    },
  };
}

/** Opens the export as a client does; rejects when the disk cannot be opened. */
export async function exportSize(uri: string): Promise<number> {
  return Number((await run("nbdinfo", ["--size", uri])).stdout);
}

/** Deterministic bytes without long repetitions. */
function pattern(bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  for (let at = 0; at + 4 <= bytes; at += 4) buffer.writeUInt32LE((at * 2654435761) >>> 0, at);
  return buffer;
}
