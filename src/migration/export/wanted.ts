/** Which volumes are to be exported: given by their ids, or those at this appliance that migratekit marked. */
import type { Logger } from "pino";
import type { CloudStack } from "../../cloudstack/cloudstack.ts";
import { serialOf } from "../../cloudstack/names.ts";
import type { Config } from "../../config.ts";
import { messageOf } from "../../errors.ts";
import { volumeTags } from "../volumes/volumes.ts";

/** Between two questions while a disk is there that nobody knows; doubles. */
const firstPauseMs = 1_000;
const pauseMsMax = 60_000;

export class WantedVolumes {
  /** Serial to id, of all that were ever found: a volume stays what it is. */
  readonly #known = new Map<string, string>();
  readonly #cloud: CloudStack | undefined;
  readonly #appliance: Config["cloudstackAppliance"];
  readonly #logger: Logger;
  #unknown = "";
  #pauseMs = firstPauseMs;
  #nextAtMs = 0;
  #asking = false;

  /** Without `cloud` only the volumes that the settings list. */
  constructor(config: Config, cloud: CloudStack | undefined, logger: Logger) {
    for (const id of config.exportVolumes ?? []) this.#known.set(serialOf(id), id);
    this.#cloud = cloud;
    this.#appliance = config.cloudstackAppliance;
    this.#logger = logger;
  }

  /**
   * Serial and id of those of the disks that are to be exported, as far as is known. CloudStack is asked meanwhile,
   * only for disks that are not known yet, and less and less often: `settled` says whether it was.
   */
  among(serials: Iterable<string>): { found: (readonly [string, string])[]; settled: boolean } {
    const all = [...serials];
    const unknown = all
      .filter((serial) => !this.#known.has(serial))
      .toSorted()
      .join();
    if (unknown !== this.#unknown) {
      this.#unknown = unknown;
      this.#pauseMs = firstPauseMs;
      this.#nextAtMs = 0;
    }
    const due = unknown !== "" && performance.now() >= this.#nextAtMs;
    if (due && this.#cloud !== undefined && !this.#asking) void this.#ask(this.#cloud);
    const found = all.flatMap((serial) => {
      const id = this.#known.get(serial);
      return id === undefined ? [] : [[serial, id] as const];
    });
    return { found, settled: !this.#asking };
  }

  /** An API that does not answer changes nothing. Never rejects. */
  async #ask(cloud: CloudStack): Promise<void> {
    this.#asking = true;
    try {
      const appliance = await cloud.appliance(this.#appliance);
      for (const { id, deviceId, tags } of await cloud.volumesOf(appliance.id)) {
        if (deviceId === 0 || tags[volumeTags.disk] === undefined) continue;
        this.#known.set(serialOf(id), id);
      }
    } catch (error) {
      this.#logger.warn(`${messageOf(error)}; exports stay as they are`);
    }
    this.#nextAtMs = performance.now() + this.#pauseMs;
    this.#pauseMs = Math.min(this.#pauseMs * 2, pauseMsMax);
    this.#asking = false;
  }
}
