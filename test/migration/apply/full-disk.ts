/**
 * full-disk.ts JOB: applies overlays where the folder of the old bytes has little room; with `fill` none is
 * left when the first disk is to be kept. Prints what was refused, and what is left in the folder.
 */
import { closeSync, openSync, readdirSync, writeSync } from "node:fs";
import { join } from "node:path";
import { MigratekitError } from "../../../src/errors.ts";
import { applyOverlays } from "../../../src/migration/apply/apply.ts";
import type { DiskToConvert } from "../../../src/migration/apply/keep.ts";
import { openWorkshop, toConvert, type WorkshopDisk } from "./workshop.ts";

interface Job {
  readonly folder: string;
  readonly keepOld: string;
  readonly fill: boolean;
  readonly disks: readonly WorkshopDisk[];
}

const { folder, keepOld, fill, disks } = JSON.parse(process.argv[2]!) as Job;

function fillUp(): void {
  const file = openSync(join(keepOld, "filler"), "w");
  try {
    for (;;) writeSync(file, Buffer.alloc(4096, 1));
  } catch {
    closeSync(file);
  }
}

/** Takes the room when the room was looked at, and the first disk's turn has come. */
class LateFill extends Array<DiskToConvert> {
  static override get [Symbol.species]() {
    return Array;
  }

  override *[Symbol.iterator](): ArrayIterator<DiskToConvert> {
    fillUp();
    yield* super[Symbol.iterator]();
  }
}

await using shop = await openWorkshop(folder);
const targets = await Promise.all(disks.map(toConvert));
const tls = { caFile: undefined, certificatesDir: undefined, pskFile: undefined };
const options = { runId: "run", keepOld, bytesMax: 1 << 30, tls, result: {} };
try {
  await applyOverlays(shop.context, fill ? LateFill.from(targets) : targets, options);
} catch (error) {
  if (!(error instanceof MigratekitError)) throw error;
  const { code, message } = error;
  process.stdout.write(JSON.stringify({ code, message, left: readdirSync(keepOld) }));
}
