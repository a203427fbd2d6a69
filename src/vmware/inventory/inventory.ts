/**
 * Virtual machines by inventory path: a path is first asked for as it stands and then compared, unescaped, with
 * every machine's.
 */

import { MigratekitError } from "../../errors.ts";
import { argumentReference } from "../wire/soap-channel.ts";
import { optionalReference } from "../wire/values.ts";
import type { Session } from "../wire/wire.ts";
import { listEntities } from "./entities.ts";
import { comparable, Places, pathProperties, placeProperties } from "./places.ts";
import { nearest } from "./similar-names.ts";

interface Machine {
  readonly moref: string;
  /** `/Datacenter/vm/Folder/VM`, escaped as the endpoint escapes it. */
  readonly path: string;
}

/** The moref; throws `vm-not-found` with up to five paths that come close. */
export async function findVm(session: Session, path: string): Promise<string> {
  const found = await seekVm(session, path);
  if (typeof found === "string") return found;
  const none = `none of the ${found.length} virtual machines visible to this account has a similar name`;
  throw notFound(session, path, { what: "virtual machine", paths: found, none });
}

/** The moref, or the paths of all the machines that it is not. */
export async function seekVm(session: Session, path: string): Promise<string | string[]> {
  const wanted = candidates(path, session.content.about.apiType);
  for (const candidate of wanted) {
    const moref = await findByInventoryPath(session, candidate);
    if (moref) return moref;
  }
  const machines = await listMachines(session);
  const keys = new Set(wanted.map(comparable));
  const same = machines.filter((machine) => keys.has(comparable(machine.path)));
  if (same.length === 1 && same[0]) return same[0].moref;
  return machines.map((machine) => machine.path);
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

/** Every virtual machine that the account can see. */
async function listMachines(session: Session): Promise<Machine[]> {
  const properties = { ...placeProperties, VirtualMachine: pathProperties };
  const places = new Places();
  const machines = [];
  for await (const entity of listEntities(session, { properties })) {
    if (entity.object.type === "VirtualMachine") machines.push(entity);
    else places.add(entity);
  }
  return machines.map((vm) => ({ moref: vm.object.moref, path: places.pathOf(vm) }));
}

/** `what` was looked for, `paths` are those that there are, and `none` is said where none comes close. */
export function notFound(
  session: Session,
  path: string,
  { what, paths, none }: { what: string; paths: readonly string[]; none: string },
): MigratekitError {
  const near = nearest(path, paths, 5);
  const hint =
    near.length > 0
      ? `similar: ${near.map((candidate) => JSON.stringify(candidate)).join(", ")}`
      : none;
  return new MigratekitError(
    "vm-not-found",
    `there is no ${what} ${JSON.stringify(path)} on ${session.endpoint}; ${hint}`,
    { context: { path, near: near.join("\n") || undefined } },
  );
}
