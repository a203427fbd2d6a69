/** What CloudStack's API tells: everything here is a question, and tried again while that may help. */

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
import { type Instance, instanceOf, isDestroyed } from "./instances.ts";
import { isGone, type Volume, volumeOf } from "./volumes.ts";
import { ApiFault, toMigratekitError } from "./wire/faults.ts";
import type { Parameters } from "./wire/signature.ts";
import { Wire, type WireContext, type WireSettings } from "./wire/wire.ts";

export interface CloudStackSettings extends WireSettings, Owner {
  /** Name or id; without it there must be one only. */
  readonly zone?: string | undefined;
}

export class CloudStackReader {
  protected readonly wire: Wire;
  readonly #settings: CloudStackSettings;
  #owner: Promise<Parameters> | undefined;
  #zone: Promise<Zone> | undefined;

  /** Asks nothing yet. @throws MigratekitError `usage` */
  constructor(settings: CloudStackSettings, context: WireContext) {
    this.#settings = settings;
    this.wire = new Wire(settings, context);
  }

  capabilities(): Promise<Capabilities> {
    return this.told("read CloudStack's capabilities", () => readCapabilities(this.wire));
  }

  /** What the account, or the project, may still take. */
  limits(): Promise<Limits> {
    return this.told("read the account's limits", async () =>
      readLimits(this.wire, await this.ownerParameters()),
    );
  }

  /** Names of commands in lower case. */
  allowedCommands(): Promise<ReadonlySet<string>> {
    return this.told("list the commands that the key may use", () =>
      readAllowedCommands(this.wire),
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
    return await this.told("ask which details an instance may have", async () =>
      readDetailOptions(this.wire, like).catch((error: unknown) => {
        if (isNotAllowed(error)) return undefined;
        throw error;
      }),
    );
  }

  /** Whether a pool is a managed one; undefined where the key may not ask. */
  async isManagedPool(storageId: string): Promise<boolean | undefined> {
    const pools = await this.#ifAllowed("listStoragePools", "storagepool", { id: storageId });
    const pool = pools.find(({ id }) => id === storageId);
    return typeof pool?.managed === "boolean" ? pool.managed : undefined;
  }

  /** By name or id, by default that of the settings. @throws MigratekitError `cloudstack-not-found`, … */
  async zone(nameOrId = this.#settings.zone): Promise<Zone> {
    if (nameOrId !== this.#settings.zone) return await this.#findZone(nameOrId);
    this.#zone ??= this.#untilItFails(this.#findZone(nameOrId), () => {
      this.#zone = undefined;
    });
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

  /**
   * By its exact name; of twins, of which all but one were never attached and so hold nothing, that one.
   * @throws MigratekitError `cloudstack-conflict` for others
   */
  async findVolume(name: string): Promise<Volume | undefined> {
    return (await this.withTwins(name)).kept;
  }

  /** In the order of their device ids. */
  async volumesOf(instanceId: string): Promise<Volume[]> {
    const found = await this.volumes({ virtualmachineid: instanceId });
    return found
      .filter((each) => !isGone(each))
      .sort((a, b) => (a.deviceId ?? 0) - (b.deviceId ?? 0));
  }

  /** Something on the way may have sent createVolume twice: which is the one, and which may go. */
  protected async withTwins(name: string): Promise<{ kept: Volume | undefined; spare: Volume[] }> {
    const all = (await this.volumes({ name })).filter((each) => each.name === name);
    const twins = all.filter((each) => !isGone(each)).sort((a, b) => (a.id < b.id ? -1 : 1));
    const isFresh = ({ state, instanceId }: Volume) =>
      state === "Allocated" && instanceId === undefined;
    const kept = twins.find((each) => !isFresh(each)) ?? twins[0];
    const spare = twins.filter((each) => each !== kept);
    return spare.every(isFresh) ? { kept, spare } : { kept: theOne(twins, "volumes", name), spare };
  }

  async #findZone(nameOrId: string | undefined): Promise<Zone> {
    return await this.told("find the zone", async () => {
      const all = await listKind(this.wire, zones, {});
      if (nameOrId !== undefined) return choose(zones, all, nameOrId);
      if (all.length === 1) return all[0]!;
      throw new MigratekitError("usage", `there are several zones: ${namesOf(all)}`, {
        remedy: "Say which with --cloudstack-zone.",
      });
    });
  }

  async #chosen<T extends { id: string; name: string }>(kind: Kind<T>, nameOrId: string) {
    const zone = await this.zone();
    return await this.told(`find the ${kind.what} ${nameOrId}`, async () => {
      const owned = kind.flag === networks.flag ? await this.ownerParameters() : {};
      return choose(kind, await listKind(this.wire, kind, { zoneid: zone.id, ...owned }), nameOrId);
    });
  }

  #instances(parameters: Parameters = {}): Promise<Instance[]> {
    return this.told("list instances", async () => {
      const all = { ...parameters, ...(await this.ownerParameters()) };
      return (await this.wire.list("listVirtualMachines", "virtualmachine", all)).map(instanceOf);
    });
  }

  protected volumes(parameters: Parameters): Promise<Volume[]> {
    return this.told("list volumes", async () => {
      const all = { ...parameters, ...(await this.ownerParameters()) };
      return (await this.wire.list("listVolumes", "volume", all)).map(volumeOf);
    });
  }

  /** At most one; an id that nothing has is refused by CloudStack as a wrong parameter. */
  #byId(command: string, field: string, id: string) {
    return this.told(`look at ${field} ${id}`, async () => {
      const parameters = { id, ...(await this.ownerParameters()) };
      return await this.wire.list(command, field, parameters).catch((error: unknown) => {
        if (error instanceof ApiFault && error.errorCode === 431) return [];
        throw error;
      });
    });
  }

  /** Nothing where the key's role has not got the command. */
  async #ifAllowed(command: string, field: string, parameters: Parameters) {
    return await this.told(`ask ${command}`, async () =>
      this.wire.list(command, field, parameters).catch((error: unknown) => {
        if (isNotAllowed(error)) return [];
        throw error;
      }),
    );
  }

  /** Whose things are meant: for lists, and for what is made. */
  protected ownerParameters(): Promise<Parameters> {
    this.#owner ??= this.#untilItFails(ownerParameters(this.wire, this.#settings), () => {
      this.#owner = undefined;
    });
    return this.#owner;
  }

  /** Errors of the API as those of the catalogue. */
  protected async told<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw toMigratekitError(error, what);
    }
  }

  /** An answer is kept; a failure is not, as it may pass. */
  #untilItFails<T>(answer: Promise<T>, forget: () => void): Promise<T> {
    answer.catch(forget);
    return answer;
  }
}

/** The key's role has not got the command. */
function isNotAllowed(error: unknown): boolean {
  return error instanceof ApiFault && [432, 531].includes(error.errorCode);
}

function theOne<T extends { readonly id: string }>(all: readonly T[], what: string, name: string) {
  if (all.length < 2) return all[0];
  throw new MigratekitError(
    "cloudstack-conflict",
    `there are ${all.length} ${what} called ${name}: ${all.map(({ id }) => id).join(", ")}`,
    { remedy: "Find out which is the one in use, and remove or rename the others." },
  );
}
