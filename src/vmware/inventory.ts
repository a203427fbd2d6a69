/**
 * Virtual machines by inventory path. vCenter keeps names with `/`, `\` and `%` escaped (`%2f`, `%5c`, `%25`,
 * either case), so a path is first asked for as it stands and then compared, unescaped, with every machine's.
 */

import { MigratekitError } from "../errors.ts";
import { nearest } from "./similar-names.ts";
import { isVimFault } from "./wire/faults.ts";
import { type ObjectProperties, retrieveAll } from "./wire/retrieve-properties.ts";
import { argumentReference } from "./wire/soap-channel.ts";
import { optionalReference, optionalText, reference } from "./wire/values.ts";
import type { Session } from "./wire/wire.ts";

interface Machine {
  readonly moref: string;
  /** `/Datacenter/vm/Folder/VM`, escaped as the endpoint escapes it. */
  readonly path: string;
}

/** The moref; throws `vm-not-found` with up to five paths that come close. */
export async function findVm(session: Session, path: string): Promise<string> {
  const wanted = candidates(path, session.content.about.apiType);
  for (const candidate of wanted) {
    const moref = await findByInventoryPath(session, candidate);
    if (moref) return moref;
  }
  const machines = await listMachines(session);
  const keys = new Set(wanted.map(comparable));
  const same = machines.filter((machine) => keys.has(comparable(machine.path)));
  if (same.length === 1 && same[0]) return same[0].moref;
  throw notFound(session.endpoint, path, machines);
}

/**
 * An ESXi host has one datacenter, `ha-datacenter`, whose name its users rarely see: a path may begin with
 * `vm/` below it, or be a machine's name alone. Any other path is taken as it stands.
 */
function candidates(path: string, apiType: string): string[] {
  const plain = path.replace(/^\/+|\/+$/g, "");
  if (apiType !== "HostAgent" || plain.startsWith("ha-datacenter/")) return [plain];
  return plain.startsWith("vm/")
    ? [`ha-datacenter/${plain}`]
    : plain.includes("/")
      ? [plain]
      : [`ha-datacenter/vm/${plain}`];
}

async function findByInventoryPath(session: Session, path: string): Promise<string | undefined> {
  const { type, moref } = session.content.searchIndex;
  const args = { _this: argumentReference(type, moref), inventoryPath: path };
  const answer = await session.read("FindByInventoryPath", args);
  const found = optionalReference(answer, "returnval");
  return found?.type === "VirtualMachine" ? found.moref : undefined;
}

/** Moref of the machine with this instance UUID, whatever its name; undefined where there is none. */
export async function findVmByUuid(
  session: Session,
  instanceUuid: string,
): Promise<string | undefined> {
  const { type, moref } = session.content.searchIndex;
  const answer = await session.read("FindByUuid", {
    _this: argumentReference(type, moref),
    uuid: instanceUuid,
    vmSearch: true,
    instanceUuid: true,
  });
  const found = optionalReference(answer, "returnval");
  return found?.type === "VirtualMachine" ? found.moref : undefined;
}

/** The inventory path of a machine; undefined where the account sees it in no list. */
export async function readVmPath(session: Session, moref: string): Promise<string | undefined> {
  return (await listMachines(session)).find((machine) => machine.moref === moref)?.path;
}

/** Every virtual machine that the account can see. A list that dies with the session is begun once more. */
async function listMachines(session: Session): Promise<Machine[]> {
  try {
    return await listOnce(session);
  } catch (error) {
    if (!isVimFault(error, "InvalidArgument", "ManagedObjectNotFound")) throw error;
    return await listOnce(session);
  }
}

async function listOnce(session: Session): Promise<Machine[]> {
  const entities = new Map<string, ObjectProperties>();
  const view = await createView(session);
  try {
    for await (const entity of retrieveAll(session, namesInView(view)))
      entities.set(entity.object.moref, entity);
  } finally {
    const args = { _this: argumentReference(view.type, view.moref) };
    await session.send("DestroyView", args).catch(() => {}); // it goes with the session
  }
  const machines: Machine[] = [];
  for (const [moref, entity] of entities)
    if (entity.object.type === "VirtualMachine")
      machines.push({ moref, path: pathOf(entity, entities) });
  return machines;
}

async function createView(session: Session) {
  const { viewManager, rootFolder } = session.content;
  if (!viewManager)
    throw new MigratekitError("vm-not-found", "the endpoint cannot list its inventory");
  const answer = await session.read("CreateContainerView", {
    _this: argumentReference(viewManager.type, viewManager.moref),
    container: argumentReference(rootFolder.type, rootFolder.moref),
    type: ["Datacenter", "Folder", "VirtualApp", "VirtualMachine"],
    recursive: true,
  });
  return reference(answer, "returnval");
}

function namesInView(view: { type: string; moref: string }) {
  return {
    propSet: [
      { type: "Datacenter", pathSet: ["name", "parent"] },
      { type: "Folder", pathSet: ["name", "parent"] },
      { type: "VirtualApp", pathSet: ["name", "parent", "parentFolder"] },
      { type: "VirtualMachine", pathSet: ["name", "parent", "parentVApp"] },
    ],
    objectSet: [
      {
        obj: argumentReference(view.type, view.moref),
        skip: true,
        selectSet: [
          {
            attributes: { "xsi:type": "TraversalSpec" },
            name: "view",
            type: "ContainerView",
            path: "view",
            skip: false,
          },
        ],
      },
    ],
  };
}

function pathOf(entity: ObjectProperties, entities: ReadonlyMap<string, ObjectProperties>): string {
  const names: string[] = [];
  const depthMax = 100; // a cycle would be the endpoint's mistake, and must not be our loop
  for (let at: ObjectProperties | undefined = entity; at && names.length < depthMax; ) {
    names.unshift(nameOf(at));
    const parent = parentOf(at);
    at = parent === undefined ? undefined : entities.get(parent);
  }
  return `/${names.join("/")}`;
}

/** What the path names as the next level up: a vApp or its folder rather than a resource pool. */
function parentOf(entity: ObjectProperties): string | undefined {
  for (const path of ["parentVApp", "parentFolder", "parent"]) {
    const parent = entity.has(path) ? optionalReference(entity.get(path), "val") : undefined;
    if (parent) return parent.moref;
  }
  return undefined;
}

function nameOf(entity: ObjectProperties): string {
  return entity.has("name") ? (optionalText(entity.get("name"), "val") ?? "") : "";
}

/** Two paths that name the same machine have the same comparable form. */
function comparable(path: string): string {
  const names = path.split("/").filter((name) => name !== "");
  return JSON.stringify(names.map((name) => unescapeName(name).normalize("NFC")));
}

function unescapeName(name: string): string {
  return name.replace(/%(2f|5c|25)/gi, (_, code: string) =>
    String.fromCharCode(Number.parseInt(code, 16)),
  );
}

function notFound(endpoint: string, path: string, machines: readonly Machine[]): MigratekitError {
  const near = nearest(
    path,
    machines.map((machine) => machine.path),
    5,
  );
  const hint =
    near.length > 0
      ? `similar: ${near.map((candidate) => JSON.stringify(candidate)).join(", ")}`
      : `none of the ${machines.length} virtual machines visible to this account has a similar name`;
  return new MigratekitError(
    "vm-not-found",
    `there is no virtual machine ${JSON.stringify(path)} on ${endpoint}; ${hint}`,
    { context: { path, near: near.join("\n") || undefined } },
  );
}
