/** Changed block tracking: which areas of a disk differ from an earlier change ID (QueryChangedDiskAreas). */

import { MigratekitError } from "../errors.ts";
import { intersect, merge, subtract, whole } from "../ranges.ts";
import { oneLine } from "../text.ts";
import { asMigratekitError, kindOf, VimFault } from "./wire/faults.ts";
import { argumentReference } from "./wire/soap-channel.ts";
import { integer, list, object, protocolError } from "./wire/values.ts";
import type { Session } from "./wire/wire.ts";

export interface ChangedAreasQuery {
  readonly vmMoref: string;
  readonly snapshotMoref: string;
  readonly deviceKey: number;
  /** An earlier snapshot's change ID of this disk, or `*` for everything ever allocated. */
  readonly changeId: string;
  readonly capacityBytes: number;
  readonly signal?: AbortSignal | undefined;
}

interface Page {
  readonly endBytes: number;
  /** Pairs [offset, length] in any order, within the capacity; may reach beyond `endBytes`. */
  readonly extents: Float64Array;
}

/**
 * One array of pairs [offset, length] per page of the answer, in ascending order and disjoint over all pages,
 * within the capacity. The generator ends only when the pages have covered the whole disk. An endpoint that
 * does not know the changes throws `changed-areas-unavailable`; a fault that should pass and does not
 * `vsphere-busy`; an answer that contradicts itself `vsphere-protocol`.
 */
export async function* changedAreas(
  session: Session,
  query: ChangedAreasQuery,
): AsyncGenerator<Float64Array> {
  const { capacityBytes } = query;
  // Tracking works in blocks of 64 KiB or more; an endpoint that creeps in smaller steps never ends.
  const pagesMax = 1_000 + capacityBytes / 65_536;
  let carried: Float64Array = new Float64Array(0);
  let pages = 0;
  for (let at = 0; at < capacityBytes; ) {
    if (++pages > pagesMax) throw inconsistent(query, `${pages} pages reached only offset ${at}`);
    const page = await queryPage(session, query, at);
    const told = merge([carried, page.extents]);
    const covered = whole(page.endBytes);
    carried = subtract(told, covered);
    at = page.endBytes;
    yield intersect(told, covered);
  }
}

async function queryPage(session: Session, query: ChangedAreasQuery, at: number): Promise<Page> {
  const args = {
    _this: argumentReference("VirtualMachine", query.vmMoref),
    snapshot: argumentReference("VirtualMachineSnapshot", query.snapshotMoref),
    deviceKey: query.deviceKey,
    startOffset: at,
    changeId: query.changeId,
  };
  const answer = await ask(session, query, args);
  const info = object(answer, "returnval");
  const startBytes = integer(info, "startOffset");
  const lengthBytes = integer(info, "length");
  if (startBytes > at) throw inconsistent(query, `it leaves out ${at} to ${startBytes}`);
  const endBytes = Math.min(startBytes + lengthBytes, query.capacityBytes);
  if (startBytes < 0 || lengthBytes < 0)
    throw inconsistent(query, "an offset or length is negative");
  if (endBytes <= at)
    throw unavailable(query, "NoProgress", `the answer at offset ${at} covers nothing`);
  return { endBytes, extents: readExtents(query, info, at) };
}

async function ask(session: Session, query: ChangedAreasQuery, args: object): Promise<unknown> {
  try {
    return await session.read("QueryChangedDiskAreas", { ...args }, query.signal);
  } catch (error) {
    if (error instanceof VimFault && meansUnknown(error, query))
      throw unavailable(query, error.fault, error.message);
    throw asMigratekitError(error, `query the changes of ${describe(query)}`);
  }
}

/**
 * Only what is about the change information itself. A list of what was ever allocated (`*`) is a help and no
 * more: there, a fault that nobody knows says as well that there is none.
 */
function meansUnknown(fault: VimFault, { changeId }: ChangedAreasQuery): boolean {
  if (kindOf(fault) === "changes") return true;
  const known = ["NoPermission", "ManagedObjectNotFound", "NotAuthenticated"];
  return changeId === "*" && kindOf(fault) === undefined && !known.includes(fault.fault);
}

function readExtents(query: ChangedAreasQuery, info: object, at: number): Float64Array {
  const areas = list(info, "changedArea").map((area) => {
    const start = integer(area, "start");
    const length = integer(area, "length");
    if (start < at || length < 0)
      throw inconsistent(query, `the area ${start}+${length} lies before offset ${at}`);
    return [start, Math.max(0, Math.min(length, query.capacityBytes - start))];
  });
  return Float64Array.from(areas.flat());
}

function describe(query: ChangedAreasQuery): string {
  return `disk ${query.deviceKey} of ${query.vmMoref} since change ID ${oneLine(query.changeId, 80)}`;
}

function unavailable(query: ChangedAreasQuery, fault: string, text: string): MigratekitError {
  return new MigratekitError(
    "changed-areas-unavailable",
    `vSphere cannot tell the changes of ${describe(query)}: ${oneLine(text)}`,
    { context: { fault, deviceKey: query.deviceKey, changeId: query.changeId } },
  );
}

function inconsistent(query: ChangedAreasQuery, why: string): MigratekitError {
  return protocolError(`the list of changes of ${describe(query)} contradicts itself: ${why}`);
}
