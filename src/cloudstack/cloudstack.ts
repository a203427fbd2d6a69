/**
 * CloudStack's API as any account may use it: questions (reader.ts), and writes that may be asked for again (step.ts).
 * Errors are of the catalogue; a wait ends with the signal.
 */

import { MigratekitError } from "../errors.ts";
import {
  deployParameters,
  destroyStep,
  type Instance,
  isDestroyed,
  type NewInstance,
  stateStep,
} from "./instances.ts";
import { CloudStackReader } from "./reader.ts";
import { reach, type Step } from "./step.ts";
import { type Tagged, tagStep, untagStep } from "./tags.ts";
import { attachStep, deleteStep, detachStep, type NewVolume, type Volume } from "./volumes.ts";
import type { Parameters } from "./wire/signature.ts";

export type { Capabilities, Limits } from "./account.ts";
export type { DiskOffering, Network, Offering, Template, Zone } from "./catalog.ts";
export { type Instance, type InstanceNic, isDestroyed, type NewInstance } from "./instances.ts";
export type { CloudStackSettings } from "./reader.ts";
export { isGone, type NewVolume, type Volume } from "./volumes.ts";

export class CloudStack extends CloudStackReader {
  /** The volume of this name, made where there is none; tagged. */
  async createVolume(wanted: NewVolume): Promise<Volume> {
    const { name, sizeGiB, diskOfferingId, zoneId, tags = {} } = wanted;
    const offering = await this.diskOffering(diskOfferingId);
    const volume = await this.#reach({
      what: `create volume ${name}`,
      command: "createVolume",
      parameters: {
        name,
        diskofferingid: offering.id,
        zoneid: zoneId,
        ...(offering.isCustom ? { size: String(sizeGiB) } : {}),
        ...(await this.ownerParameters()),
      },
      look: () => this.#findMade(name),
    });
    await this.tag({ kind: "Volume", id: volume.id }, tags);
    return { ...volume, tags: { ...volume.tags, ...tags } };
  }

  /** Nothing where it is attached so already; attached elsewhere is refused. */
  attachVolume(volumeId: string, instanceId: string, deviceId?: number): Promise<Volume> {
    return this.#reach(attachStep(() => this.volume(volumeId), volumeId, instanceId, deviceId));
  }

  /** `from`: the only instance that it may be taken from. */
  detachVolume(volumeId: string, from?: string): Promise<Volume> {
    return this.#reach(detachStep(() => this.volume(volumeId), volumeId, from));
  }

  async deleteVolume(volumeId: string): Promise<void> {
    await this.#reach(deleteStep(() => this.volume(volumeId), volumeId));
  }

  /** The instance of this name, made where there is none, not started; tagged. */
  async deployInstance(spec: NewInstance): Promise<Instance> {
    const { name, tags = {} } = spec;
    const instance = await this.#reach({
      what: `deploy instance ${name}`,
      command: "deployVirtualMachine",
      parameters: { ...deployParameters(spec), ...(await this.ownerParameters()) },
      look: async () => {
        const found = await this.findInstance(name);
        if (found?.state === "Error") throw deployFailed(found);
        return found && !isDestroyed(found) ? found : undefined;
      },
    });
    await this.tag({ kind: "UserVm", id: instance.id }, tags);
    return { ...instance, tags: { ...instance.tags, ...tags } };
  }

  startInstance(id: string): Promise<Instance> {
    return this.#reach(stateStep(() => this.instance(id), id, "Running"));
  }

  stopInstance(id: string, { forced = false } = {}): Promise<Instance> {
    const parameters: Parameters = forced ? { forced: "true" } : {};
    return this.#reach(stateStep(() => this.instance(id), id, "Stopped", parameters));
  }

  /**
   * Gives what is left of it: without `expunge` (which `capabilities` says whether a user may) its name, MAC and
   * addresses stay taken until CloudStack expunges it by itself.
   */
  async destroyInstance(id: string, { expunge = false } = {}): Promise<Instance | undefined> {
    return (await this.#reach(destroyStep(() => this.instance(id), id, expunge))).left;
  }

  /** Sets these; others stay. */
  async tag(resource: Tagged, tags: Readonly<Record<string, string>>): Promise<void> {
    const present = async () => {
      const { kind, id } = resource;
      const found = kind === "Volume" ? await this.volume(id) : await this.instance(id);
      return found?.tags ?? {};
    };
    const now = await present();
    const wrong = Object.keys(tags).filter(
      (key) => now[key] !== undefined && now[key] !== tags[key],
    );
    if (wrong.length > 0) await this.#reach(untagStep(resource, wrong, present));
    if (Object.keys(tags).length > 0) await this.#reach(tagStep(resource, tags, present));
  }

  async #findMade(name: string): Promise<Volume | undefined> {
    const { kept, spare } = await this.withTwins(name);
    for (const { id } of spare) await this.deleteVolume(id);
    return kept;
  }

  #reach<T>(step: Step<T>): Promise<T> {
    return reach(this.wire, step);
  }
}

function deployFailed({ id, name }: Instance): MigratekitError {
  return new MigratekitError(
    "cloudstack-job-failed",
    `could not deploy instance ${name}: CloudStack left it in state Error (${id})`,
    { remedy: "Remove it there, and look for the cause in the management server's log." },
  );
}
