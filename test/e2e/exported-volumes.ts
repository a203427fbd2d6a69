// The appliance's exports, each by a server of its own at one port for ever: they come and go with the devices.

import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { CloudStackLab } from "../lab/cloudstack/cloudstack.ts";
import type { NbdServer } from "../lab/nbd-server.ts";
import { findFreePort } from "../lab/ports.ts";
import { startQemuNbd } from "../lab/targets.ts";

const pollMs = 40;

export class ExportedVolumes implements AsyncDisposable {
  readonly #cloud: CloudStackLab;
  readonly #ports: ReadonlyMap<string, number>;
  readonly #servers = new Map<string, NbdServer>();
  readonly #ended: Promise<void>;
  #ending = false;

  private constructor(cloud: CloudStackLab, ports: ReadonlyMap<string, number>) {
    this.#cloud = cloud;
    this.#ports = ports;
    this.#ended = this.#follow();
  }

  static async of(cloud: CloudStackLab, volumeIds: readonly string[]): Promise<ExportedVolumes> {
    const ports = new Map<string, number>();
    for (const id of volumeIds) ports.set(id, await findFreePort());
    return new ExportedVolumes(cloud, ports);
  }

  uriOf(volumeId: string): string {
    return `nbd://127.0.0.1:${this.#ports.get(volumeId)}/${volumeId}`;
  }

  async #follow(): Promise<void> {
    while (!this.#ending) {
      for (const [id, port] of this.#ports) {
        const server = this.#servers.get(id);
        const there = existsSync(this.#cloud.deviceOf(id));
        if (there && server === undefined) {
          const started = startQemuNbd({ file: this.#cloud.volumeFile(id), exportName: id, port });
          // Whoever had the volume may still be letting go of it.
          const next = await started.catch(() => undefined);
          if (next) this.#servers.set(id, next);
        }
        if (!there && server !== undefined) {
          this.#servers.delete(id);
          await server.stop();
        }
      }
      await sleep(pollMs);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending = true;
    await this.#ended;
    for (const server of this.#servers.values()) await server.stop();
  }
}
