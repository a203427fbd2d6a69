/**
 * CloudStack's API as any account may use it: readings that are patient, writes that may be asked for
 * again (step.ts). Errors are of the catalogue; a wait ends with the signal.
 */

import { networkInterfaces } from "node:os";
import { MigratekitError } from "../errors.ts";
import {
  type Capabilities,
  type Limits,
  type Owner,
  ownerParameters,
  readAllowedCommands,
  readCapabilities,
  readDetailOptions,
  readLimits,
} from "./account.ts";
import {
  choose,
  type DiskOffering,
  diskOfferings,
  type Kind,
  listKind,
  type Network,
  namesOf,
  networks,
  type Offering,
  offerings,
  type Template,
  templates,
  type Zone,
  zones,
} from "./catalog.ts";
import {
  deployParameters,
  destroyStep,
  type Instance,
  instanceOf,
  isDestroyed,
  type NewInstance,
  stateStep,
} from "./instances.ts";
import { reach, type Step } from "./step.ts";
import { type Tagged, tagStep, untagStep } from "./tags.ts";
import {
  attachStep,
  deleteStep,
  detachStep,
  isGone,
  type NewVolume,
  type Volume,
  volumeOf,
} from "./volumes.ts";
import { ApiFault, toMigratekitError } from "./wire/faults.ts";
import type { Parameters } from "./wire/signature.ts";
import { Wire, type WireContext, type WireSettings } from "./wire/wire.ts";

export type { Capabilities, Limits } from "./account.ts";
export type { DiskOffering, Network, Offering, Template, Zone } from "./catalog.ts";
export { type Instance, type InstanceNic, isDestroyed, type NewInstance } from "./instances.ts";
export { isGone, type NewVolume, type Volume } from "./volumes.ts";

export interface CloudStackSettings extends WireSettings, Owner {
  /** Name or id; without it there must be one only. */
  readonly zone?: string | undefined;
}

export class CloudStack {
  readonly #wire: Wire;
  readonly #settings: CloudStackSettings;
  #owner: Promise<Parameters> | undefined;
  #zone: Promise<Zone> | undefined;

  /** Asks nothing yet. @throws MigratekitError `usage` */
  constructor(settings: CloudStackSettings, context: WireContext) {
    this.#settings = settings;
    this.#wire = new Wire(settings, context);
  }

  capabilities(): Promise<Capabilities> {
    return this.#told("read CloudStack's capabilities", () => readCapabilities(this.#wire));
  }

  /** What the account, or the project, may still take. */
  limits(): Promise<Limits> {
    return this.#told("read the account's limits", async () =>
      readLimits(this.#wire, await this.#ownerParameters()),
    );
  }

  /** Names of commands in lower case. */
  allowedCommands(): Promise<ReadonlySet<string>> {
    return this.#told("list the commands that the key may use", () =>
      readAllowedCommands(this.#wire),
    );
  }

  /** How many data volumes an instance may have; undefined where the key may not ask. */
  async dataVolumesMax(hypervisor = "KVM"): Promise<number | undefined> {
    const [first] = await this.#ifAllowed("listHypervisorCapabilities", "hypervisorCapabilities", {
      hypervisor,
    });
    const max = first?.maxdatavolumeslimit;
    return typeof max === "number" ? max : undefined;
  }

  /** Details that an instance may be given, and their values; undefined where the key may not ask. */
  async detailOptions(
    like: string,
  ): Promise<Readonly<Record<string, readonly string[]>> | undefined> {
    return await this.#told("ask which details an instance may have", async () =>
      readDetailOptions(this.#wire, like).catch((error: unknown) => {
        if (isNotAllowed(error)) return undefined;
        throw error;
      }),
    );
  }

  /** Whether a pool is a managed one; undefined where the key may not ask. */
  async isManagedPool(storageId: string): Promise<boolean | undefined> {
    const [pool] = await this.#ifAllowed("listStoragePools", "storagepool", { id: storageId });
    return typeof pool?.managed === "boolean" ? pool.managed : undefined;
  }

  /** By name or id, by default that of the settings. @throws MigratekitError `cloudstack-not-found`, … */
  async zone(nameOrId = this.#settings.zone): Promise<Zone> {
    if (nameOrId !== this.#settings.zone) return await this.#findZone(nameOrId);
    this.#zone ??= this.#findZone(nameOrId);
    return await this.#zone;
  }

  offering(nameOrId: string): Promise<Offering> {
    return this.#chosen(offerings, nameOrId);
  }

  diskOffering(nameOrId: string): Promise<DiskOffering> {
    return this.#chosen(diskOfferings, nameOrId);
  }

  /** A template, or an ISO. */
  template(nameOrId: string): Promise<Template> {
    return this.#chosen(templates, nameOrId);
  }

  network(nameOrId: string): Promise<Network> {
    return this.#chosen(networks, nameOrId);
  }

  /**
   * The instance that volumes are attached to while they are written. `auto`: the one that has a network card of
   * this machine.
   */
  async appliance(wanted: "auto" | (string & {})): Promise<Instance> {
    if (wanted !== "auto") {
      const instance = await this.instance(wanted);
      if (instance && !isDestroyed(instance)) return instance;
      throw new MigratekitError(
        "cloudstack-not-found",
        `--cloudstack-appliance ${wanted}: there is no such instance that this key may see`,
      );
    }
    const own = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
    const macs = new Set(own.filter(({ internal }) => !internal).map(({ mac }) => mac));
    const found = (await this.#instances()).filter(
      (each) => !isDestroyed(each) && each.nics.some(({ mac }) => macs.has(mac)),
    );
    if (found.length === 1) return found[0]!;
    throw new MigratekitError(
      "cloudstack-not-found",
      found.length === 0
        ? "--cloudstack-appliance auto: no instance that this key may see has a network card of this machine"
        : `--cloudstack-appliance auto: several instances have a network card of this machine: ${namesOf(found)}`,
      { remedy: "Give the instance's id with --cloudstack-appliance." },
    );
  }

  /** Undefined: there is none, or the key may not see it. */
  async instance(id: string): Promise<Instance | undefined> {
    return (await this.#byId("listVirtualMachines", "virtualmachine", id)).map(instanceOf)[0];
  }

  /** By its exact name, one that is not destroyed first. @throws MigratekitError `cloudstack-conflict` for two */
  async findInstance(name: string): Promise<Instance | undefined> {
    const named = (await this.#instances({ name })).filter((each) => each.name === name);
    const living = named.filter((each) => !isDestroyed(each));
    return theOne(living, "instances", name) ?? named[0];
  }

  /** All with a network card there, as far as the key may see them. */
  async instancesOn(networkId: string): Promise<Instance[]> {
    return await this.#instances({ networkid: networkId });
  }

  async volume(id: string): Promise<Volume | undefined> {
    return (await this.#byId("listVolumes", "volume", id)).map(volumeOf)[0];
  }

  /** By its exact name. @throws MigratekitError `cloudstack-conflict` where two have it */
  async findVolume(name: string): Promise<Volume | undefined> {
    const named = (await this.#volumes({ name })).filter(
      (each) => each.name === name && !isGone(each),
    );
    return theOne(named, "volumes", name);
  }

  /** In the order of their device ids. */
  async volumesOf(instanceId: string): Promise<Volume[]> {
    const found = await this.#volumes({ virtualmachineid: instanceId });
    return found
      .filter((each) => !isGone(each))
      .sort((a, b) => (a.deviceId ?? 0) - (b.deviceId ?? 0));
  }

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
        ...(await this.#ownerParameters()),
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
      parameters: { ...deployParameters(spec), ...(await this.#ownerParameters()) },
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

  /**
   * Something on the way may have sent the request twice. What was never attached (Allocated) holds nothing, so
   * that of twins one goes.
   */
  async #findMade(name: string): Promise<Volume | undefined> {
    const all = (await this.#volumes({ name })).filter((each) => each.name === name);
    const twins = all.filter((each) => !isGone(each)).sort((a, b) => (a.id < b.id ? -1 : 1));
    const isFresh = ({ state, instanceId }: Volume) =>
      state === "Allocated" && instanceId === undefined;
    const kept = twins.find((each) => !isFresh(each)) ?? twins[0];
    const others = twins.filter((each) => each !== kept);
    if (!others.every(isFresh)) return theOne(twins, "volumes", name);
    for (const { id } of others) await this.deleteVolume(id);
    return kept;
  }

  async #findZone(nameOrId: string | undefined): Promise<Zone> {
    return await this.#told("find the zone", async () => {
      const all = await listKind(this.#wire, zones, {});
      if (nameOrId !== undefined) return choose(zones, all, nameOrId);
      if (all.length === 1) return all[0]!;
      throw new MigratekitError("usage", `there are several zones: ${namesOf(all)}`, {
        remedy: "Say which with --cloudstack-zone.",
      });
    });
  }

  async #chosen<T extends { id: string; name: string }>(kind: Kind<T>, nameOrId: string) {
    const zone = await this.zone();
    return await this.#told(`find the ${kind.what} ${nameOrId}`, async () => {
      const owned = kind.flag === networks.flag ? await this.#ownerParameters() : {};
      return choose(
        kind,
        await listKind(this.#wire, kind, { zoneid: zone.id, ...owned }),
        nameOrId,
      );
    });
  }

  #instances(parameters: Parameters = {}): Promise<Instance[]> {
    return this.#told("list instances", async () => {
      const all = { ...parameters, ...(await this.#ownerParameters()) };
      return (await this.#wire.list("listVirtualMachines", "virtualmachine", all)).map(instanceOf);
    });
  }

  #volumes(parameters: Parameters): Promise<Volume[]> {
    return this.#told("list volumes", async () => {
      const all = { ...parameters, ...(await this.#ownerParameters()) };
      return (await this.#wire.list("listVolumes", "volume", all)).map(volumeOf);
    });
  }

  /** At most one; an id that nothing has is refused by CloudStack as a wrong parameter. */
  #byId(command: string, field: string, id: string) {
    return this.#told(`look at ${field} ${id}`, async () => {
      const parameters = { id, ...(await this.#ownerParameters()) };
      return await this.#wire.list(command, field, parameters).catch((error: unknown) => {
        if (error instanceof ApiFault && error.errorCode === 431) return [];
        throw error;
      });
    });
  }

  /** Nothing where the key's role has not got the command. */
  async #ifAllowed(command: string, field: string, parameters: Parameters) {
    return await this.#told(`ask ${command}`, async () =>
      this.#wire.list(command, field, parameters).catch((error: unknown) => {
        if (isNotAllowed(error)) return [];
        throw error;
      }),
    );
  }

  #ownerParameters(): Promise<Parameters> {
    this.#owner ??= ownerParameters(this.#wire, this.#settings);
    return this.#owner;
  }

  #reach<T>(step: Step<T>): Promise<T> {
    return reach(this.#wire, step);
  }

  async #told<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw toMigratekitError(error, what);
    }
  }
}

/** The key's role has not got the command. */
function isNotAllowed(error: unknown): boolean {
  return error instanceof ApiFault && [432, 531].includes(error.errorCode);
}

function deployFailed({ id, name }: Instance): MigratekitError {
  return new MigratekitError(
    "cloudstack-job-failed",
    `could not deploy instance ${name}: CloudStack left it in state Error (${id})`,
    { remedy: "Remove it there, and look for the cause in the management server's log." },
  );
}

function theOne<T extends { readonly id: string }>(all: readonly T[], what: string, name: string) {
  if (all.length < 2) return all[0];
  throw new MigratekitError(
    "cloudstack-conflict",
    `there are ${all.length} ${what} called ${name}: ${all.map(({ id }) => id).join(", ")}`,
    { remedy: "Find out which is the one in use, and remove or rename the others." },
  );
}
