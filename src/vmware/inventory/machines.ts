/** All machines below a place of the inventory, with what their properties say: streamed, a page at a time. */

import { MigratekitError } from "../../errors.ts";
import {
  type Datastore,
  datastoreOf,
  datastorePath,
  datastoresOf,
  ofMachinePath,
} from "../datastores.ts";
import {
  factPaths,
  factsOf,
  type HostDetails,
  hostOf,
  hostPaths,
  type VmFacts,
} from "../vm-facts.ts";
import { asMigratekitError } from "../wire/faults.ts";
import {
  type ObjectProperties,
  passesByItself,
  retrieveAll,
  retrieveObject,
} from "../wire/retrieve-properties.ts";
import { argumentReference } from "../wire/soap-channel.ts";
import {
  type ObjectReference,
  optionalInteger,
  optionalReference,
  optionalText,
  present,
} from "../wire/values.ts";
import type { Session } from "../wire/wire.ts";
import { listEntities } from "./entities.ts";
import { notFound, seekVm } from "./inventory.ts";
import { comparable, type Place, Places, pathProperties, placeProperties } from "./places.ts";

export interface InventoryVm {
  readonly moref: string;
  /** `/Datacenter/vm/Folder/VM`, escaped as the endpoint escapes it. */
  readonly path: string;
  /** What a run would read of it; an error where that cannot be read, and then the fields below may be known. */
  readonly facts: VmFacts | MigratekitError;
  readonly name?: string;
  readonly powerState?: string;
  readonly connectionState?: string;
  /** Such as `Debian GNU/Linux 11 (64-bit)`. */
  readonly guestName?: string;
  /** On all its datastores, with its snapshots and swap files. */
  readonly usedBytes?: number;
  /** That its files lie on and the account may see. */
  readonly datastores: readonly Datastore[];
}

export interface InventoryListing {
  /** Undefined: the whole inventory. */
  readonly below: string | undefined;
  readonly vms: AsyncIterable<InventoryVm>;
}

/** Devices weigh 10 to 20 KB in each machine: a page stays far below what an answer may weigh. */
const pageObjects = 50;

const ownPaths = { guestName: "config.guestFullName", used: "summary.storage.committed" } as const;
const machinePaths = [
  ...new Set([
    ...Object.values(factPaths),
    ...Object.values(ownPaths),
    ...pathProperties,
    ofMachinePath,
  ]),
];

/**
 * `path` names a folder, a datacenter, a vApp or one machine; undefined or `/`: everything. Rejects for what
 * concerns all of them, not for one machine that cannot be read.
 * @throws MigratekitError `vm-not-found`, `vsphere-protocol`; VimFault, EndpointError; the signal's reason
 */
export async function openInventory(
  session: Session,
  path: string | undefined,
  signal: AbortSignal,
): Promise<InventoryListing> {
  const around = await readSurroundings(session, signal);
  const wanted = path?.replace(/\/+$/, "") || undefined;
  const place =
    wanted === undefined ? undefined : around.places.find((each) => isNamed(session, each, wanted));
  if (wanted !== undefined && place === undefined) {
    const moref = await findOne(session, wanted, around);
    return { below: wanted, vms: readOne(session, moref, around, signal) };
  }
  return { below: place?.path, vms: readAll(session, place, around, signal) };
}

/** What machines lie in, run on and are stored on. */
interface Surroundings {
  readonly names: Places;
  readonly places: readonly Place[];
  readonly hosts: ReadonlyMap<string, HostDetails>;
  readonly datastores: ReadonlyMap<string, Datastore>;
}

async function readSurroundings(session: Session, signal: AbortSignal): Promise<Surroundings> {
  const names = new Places();
  const hosts = new Map<string, HostDetails>();
  const datastores = new Map<string, Datastore>();
  const properties = { ...placeProperties, HostSystem: hostPaths, Datastore: [datastorePath] };
  for await (const entity of listEntities(session, { properties }, { signal })) {
    const { type, moref } = entity.object;
    if (type === "HostSystem") hosts.set(moref, hostOf(moref, entity));
    else if (type === "Datastore") {
      const store = entity.has(datastorePath) ? datastoreOf(entity) : undefined;
      if (store !== undefined) datastores.set(moref, store);
    } else names.add(entity);
  }
  return { names, places: names.all(), hosts, datastores };
}

/** On an ESXi host the one datacenter may be left out. */
function isNamed(session: Session, { path }: Place, wanted: string): boolean {
  const isHost = session.content.about.apiType === "HostAgent";
  const keys = [wanted, ...(isHost ? [`/ha-datacenter/${wanted}`] : [])].map(comparable);
  return keys.includes(comparable(path));
}

async function findOne(session: Session, path: string, { places }: Surroundings): Promise<string> {
  const found = await seekVm(session, path);
  if (typeof found === "string") return found;
  throw notFound(session, path, {
    what: "folder, datacenter, vApp or virtual machine",
    paths: [...places.map((place) => place.path), ...found],
    none: "nothing that this account sees has a similar name",
  });
}

async function* readOne(
  session: Session,
  moref: string,
  around: Surroundings,
  signal: AbortSignal,
): AsyncGenerator<InventoryVm> {
  const reference = { type: "VirtualMachine", moref };
  yield machineOf(session, await retrieveObject(session, reference, machinePaths, signal), around);
}

async function* readAll(
  session: Session,
  container: Place | undefined,
  around: Surroundings,
  signal: AbortSignal,
): AsyncGenerator<InventoryVm> {
  const listing = {
    container,
    properties: { VirtualMachine: machinePaths },
    vApps: container === undefined ? [] : vAppsBelow(container, around.places),
  };
  const unsettled: ObjectReference[] = [];
  for await (const vm of listEntities(session, listing, { signal, pageObjects })) {
    if (vm.faults.some(passesByItself)) unsettled.push(vm.object);
    else yield machineOf(session, vm, around);
  }
  if (unsettled.length === 0) return;
  // What could not be read just now may be by now; machines may also have gone.
  const again = {
    propSet: [{ type: "VirtualMachine", pathSet: machinePaths }],
    objectSet: unsettled.map(({ type, moref }) => ({ obj: argumentReference(type, moref) })),
    reportMissingObjectsInResults: true,
  };
  for await (const vm of retrieveAll(session, [again], { signal, pageObjects }))
    yield machineOf(session, vm, around);
}

function vAppsBelow({ path }: Place, places: readonly Place[]): string[] {
  const vApps = places.filter(({ type }) => type === "VirtualApp");
  return vApps.filter((vApp) => vApp.path.startsWith(`${path}/`)).map(({ moref }) => moref);
}

function machineOf(session: Session, vm: ObjectProperties, around: Surroundings): InventoryVm {
  const { moref } = vm.object;
  const known = {
    name: textAt(vm, factPaths.name),
    powerState: textAt(vm, factPaths.powerState),
    connectionState: textAt(vm, factPaths.connectionState),
    guestName: textAt(vm, ownPaths.guestName),
    usedBytes: vm.has(ownPaths.used) ? optionalInteger(vm.get(ownPaths.used), "val") : undefined,
  };
  const stores = vm.has(ofMachinePath) ? datastoresOf(vm) : [];
  return {
    moref,
    path: around.names.pathOf(vm),
    facts: factsOrError(session, vm, around),
    ...present(known),
    datastores: stores.flatMap((store) => around.datastores.get(store) ?? []),
  };
}

/** The error is the one that reading this machine alone would reject with. */
function factsOrError(
  session: Session,
  vm: ObjectProperties,
  { hosts }: Surroundings,
): VmFacts | MigratekitError {
  const { moref } = vm.object;
  try {
    const facts = factsOf(vm);
    const host = optionalReference(vm.get(factPaths.host), "val")?.moref ?? "";
    return { ...facts, host: hosts.get(host) ?? hostOf(host, undefined) };
  } catch (error) {
    const told = asMigratekitError(error, `read the properties of ${moref} on ${session.endpoint}`);
    if (told instanceof MigratekitError) return told;
    throw error;
  }
}

function textAt(vm: ObjectProperties, path: string): string | undefined {
  return vm.has(path) ? optionalText(vm.get(path), "val") : undefined;
}
