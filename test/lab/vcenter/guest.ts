/** The guest: writes into its disks, from a seed, once or for as long as it is let. */

import { Random } from "../../random.ts";
import { randomBytesOf } from "./disk-content.ts";
import type { LabVm } from "./lab-vm.ts";

export interface RandomWritesOptions {
  seed: number;
  /** Number of writes. */
  writes: number;
  minimumBytes?: number;
  maximumBytes?: number;
  /** Share of writes that turn their range to zero. Default 0.25. */
  zeroRatio?: number;
  /** Whether one write goes to the disk's last sector. Default true. */
  lastSector?: boolean;
}

export interface GuestWrite {
  key: number;
  offset: number;
  length: number;
  zero: boolean;
}

export interface BackgroundOptions {
  seed: number;
  /** Pause between two writes. Default 20. */
  intervalMs?: number;
  minimumBytes?: number;
  maximumBytes?: number;
  zeroRatio?: number;
  /** Disks to write to; default all. */
  keys?: number[];
}

const sectorBytes = 512;

export class Guest {
  readonly #vm: LabVm;
  #stopped: AbortController | undefined;
  #running: Promise<void> | undefined;
  /** What the background guest wrote since it was started; the newest 10 000. */
  readonly written: GuestWrite[] = [];

  constructor(vm: LabVm) {
    this.#vm = vm;
  }

  /** Scattered writes of 4 KiB to 2 MiB, aligned to sectors. */
  async randomWrites(key: number, options: RandomWritesOptions): Promise<GuestWrite[]> {
    const random = new Random(options.seed);
    const capacityBytes = this.#vm.disk(key).record.capacityBytes;
    const done: GuestWrite[] = [];
    for (let index = 0; index < options.writes; index += 1) {
      const write = nextWrite(key, capacityBytes, random, options);
      if (index === 0 && options.lastSector !== false) {
        write.offset = capacityBytes - sectorBytes;
        write.length = sectorBytes;
        write.zero = false;
      }
      await this.#write(write, `${options.seed}/${index}`);
      done.push(write);
    }
    return done;
  }

  /** Goes on writing in the background until stopped; a second start replaces the first. */
  async start(options: BackgroundOptions): Promise<void> {
    await this.stop();
    const stopped = new AbortController();
    this.#stopped = stopped;
    this.written.length = 0;
    this.#running = this.#keepWriting(options, stopped.signal);
  }

  async stop(): Promise<void> {
    this.#stopped?.abort();
    this.#stopped = undefined;
    const running = this.#running;
    this.#running = undefined;
    await running;
  }

  async #keepWriting(options: BackgroundOptions, signal: AbortSignal): Promise<void> {
    const random = new Random(options.seed);
    for (let index = 0; !signal.aborted; index += 1) {
      const disks = this.#vm.disks.filter(
        (disk) => options.keys?.includes(disk.record.key) ?? true,
      );
      const disk = disks[random.below(disks.length)];
      if (!disk) return;
      const write = nextWrite(disk.record.key, disk.record.capacityBytes, random, options);
      await this.#write(write, `${options.seed}/${index}`);
      this.written.push(write);
      if (this.written.length > 10_000) this.written.shift();
      await pause(options.intervalMs ?? 20, signal);
    }
  }

  async #write(write: GuestWrite, seed: string): Promise<void> {
    const data = write.zero ? { zeroLength: write.length } : randomBytesOf(seed, write.length);
    await this.#vm.write(write.key, write.offset, data);
  }
}

function nextWrite(
  key: number,
  capacityBytes: number,
  random: Random,
  options: { minimumBytes?: number; maximumBytes?: number; zeroRatio?: number },
): GuestWrite {
  const minimum = options.minimumBytes ?? 4096;
  const maximum = Math.min(options.maximumBytes ?? 2_097_152, capacityBytes);
  // Small writes are as likely as large ones: the exponent is uniform, not the length.
  const exact = minimum * (maximum / minimum) ** random.next();
  const length = Math.max(sectorBytes, Math.floor(exact / sectorBytes) * sectorBytes);
  const sectors = Math.floor((capacityBytes - length) / sectorBytes);
  const offset = random.below(sectors + 1) * sectorBytes;
  return { key, offset, length, zero: random.chance(options.zeroRatio ?? 0.25) };
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(finish, milliseconds);
    function finish() {
      clearTimeout(timer);
      signal.removeEventListener("abort", finish);
      resolve();
    }
    signal.addEventListener("abort", finish);
  });
}
