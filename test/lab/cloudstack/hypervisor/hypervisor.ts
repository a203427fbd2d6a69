/**
 * The host: a real QEMU for each running machine, on the volumes themselves, with QEMU's own locks on them.
 * Without booting it is stopped before its first instruction, and holds its volumes all the same.
 */

import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type ProcessGroup, startForeground } from "../../process.ts";
import { internalError } from "../api/api-error.ts";
import type { InstanceRecord } from "../world/records.ts";
import { type MachineHardware, machineArgs } from "./machine.ts";
import { QmpClient } from "./qmp.ts";

export interface Domain {
  readonly pid: number;
  /** All that its serial console printed (the last 64 KiB). */
  console(): string;
  isAlive(): boolean;
  /** Ports of this machine's loopback that lead to a port of the guest: `22` to its number here. */
  readonly forwards: ReadonlyMap<number, number>;
  /** Asks the guest to shut down, and ends it after that time; `forced`: at once. */
  stop(forced: boolean): Promise<void>;
}

export interface HypervisorOptions {
  readonly folder: string;
  readonly boots: boolean;
  readonly shutdownTimeoutMs: number;
}

const readyTimeoutMs = 30_000;
const pollMs = 10;

export class Hypervisor {
  readonly #options: HypervisorOptions;
  readonly #domains = new Map<string, Domain>();

  constructor(options: HypervisorOptions) {
    this.#options = options;
  }

  domainOf(instanceId: string): Domain | undefined {
    return this.#domains.get(instanceId);
  }

  /** @throws what QEMU said where it could not start, such as a volume that is locked */
  async start(instance: InstanceRecord, hardware: MachineHardware): Promise<void> {
    // Short, as the path of a socket has little room.
    const folder = join(this.#options.folder, instance.id.slice(0, 8));
    await mkdir(folder, { recursive: true });
    const socket = join(folder, "qmp");
    await rm(socket, { force: true });
    const { args, forwards } = await machineArgs(hardware, folder, this.#options.boots);
    const group = await startForeground("qemu-system-x86_64", [
      ...args,
      ...["-qmp", `unix:${socket},server=on,wait=off`],
    ]);
    const qmp = await connect(socket, group);
    this.#domains.set(instance.id, {
      pid: group.pid,
      console: group.output,
      isAlive: group.isAlive,
      forwards,
      stop: async (forced) => {
        if (!forced && this.#options.boots) await this.#shutDown(group, qmp);
        qmp.close();
        await group.kill();
        this.#domains.delete(instance.id);
      },
    });
  }

  async #shutDown(group: ProcessGroup, qmp: QmpClient): Promise<void> {
    await qmp.run("system_powerdown").catch(() => {});
    const deadlineMs = performance.now() + this.#options.shutdownTimeoutMs;
    while (group.isAlive() && performance.now() < deadlineMs) await sleep(100);
  }

  async stopAll(): Promise<void> {
    for (const domain of [...this.#domains.values()]) await domain.stop(true);
  }
}

async function connect(socket: string, group: ProcessGroup): Promise<QmpClient> {
  const deadlineMs = performance.now() + readyTimeoutMs;
  for (;;) {
    const client = await QmpClient.connect(socket).catch(() => undefined);
    if (client) return client;
    if (!group.isAlive() || performance.now() > deadlineMs) {
      await group.kill();
      throw internalError(`internal error: QEMU unexpectedly closed: ${group.output().trim()}`);
    }
    await sleep(pollMs);
  }
}
