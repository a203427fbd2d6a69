/** QueryChangedDiskAreas: what changed on a disk between a change ID and a snapshot. */

import type { ChangeMap } from "./change-map.ts";
import { hostPath } from "./file-names.ts";
import { requirePrivilege } from "./inventory-operations.ts";
import type { CallContext, Operation } from "./lab-core.ts";
import { openFrozenMap } from "./lab-disk.ts";
import type { LabVm } from "./lab-vm.ts";
import type { DiskRecord } from "./records.ts";
import { fileFault, invalidArgument, objectNotFound } from "./vim-fault.ts";
import { type Moref, type VimObject, vimObject } from "./vim-values.ts";
import { vmOf } from "./vm-operations.ts";

/** Areas of a query kept for its next pages, per machine: snapshot/key/changeId -> pairs. */
const areasKept = new WeakMap<LabVm, Map<string, Float64Array>>();
const areasKeptMax = 8;

/** A disk as it is queried: frozen in a snapshot, or live. */
interface QueriedDisk {
  readonly vm: LabVm;
  readonly record: DiskRecord;
  readonly map: Pick<ChangeMap, "changedAfter" | "allocated">;
  /** Identity of an unchanging map; undefined for a live disk. */
  readonly cacheKey: string | undefined;
  close(): void;
}

function queryChangedDiskAreas(call: CallContext): VimObject {
  const vm = vmOf(call);
  requirePrivilege(call, call.self, "VirtualMachine.Provisioning.DiskRandomRead");
  const deviceKey = Number(call.parameters.deviceKey);
  const changeId = String(call.parameters.changeId);
  const startOffset = Number(call.parameters.startOffset);
  const disk = queriedDisk(vm, call.parameters.snapshot as Moref | undefined, deviceKey);
  try {
    const { capacityBytes } = disk.record;
    if (startOffset < 0 || startOffset >= capacityBytes) throw invalidArgument("startOffset");
    return (
      playedPage(call, vm, disk, startOffset, changeId) ??
      page(areas(call, disk, changeId), startOffset, capacityBytes, call.lab.settings.areasPerPage)
    );
  } finally {
    disk.close();
  }
}

/** What a fault on the board makes of the query, if any. */
function playedPage(
  call: CallContext,
  vm: LabVm,
  disk: QueriedDisk,
  startOffset: number,
  changeId: string,
): VimObject | undefined {
  const place = { vm: vm.name, key: disk.record.key };
  const { faults } = call.lab;
  const { capacityBytes } = disk.record;
  if (faults.take("fileFault", place)) throw fileFault(hostPath(disk.record.fileName));
  if (changeId === "*") {
    if (faults.take("starRefused", place)) throw fileFault(hostPath(disk.record.fileName));
    if (faults.take("starWholeDisk", place)) {
      return page(Float64Array.of(0, capacityBytes), startOffset, capacityBytes, 1);
    }
  }
  if (faults.take("lengthZeroPage", place)) return answer(startOffset, 0, []);
  if (faults.peek("emptyPage", place)) {
    const next = areaFrom(areas(call, disk, changeId), startOffset);
    // An area right here must be told of: the empty page is the next one then.
    if (next?.[0] === startOffset) return answer(startOffset, next[1], [next]);
    faults.take("emptyPage", place);
    return answer(startOffset, (next?.[0] ?? capacityBytes) - startOffset, []);
  }
  if (faults.take("pageGap", place)) {
    const from = Math.min(startOffset + 1_048_576, capacityBytes - 512);
    return page(areas(call, disk, changeId), from, capacityBytes, call.lab.settings.areasPerPage);
  }
  return undefined;
}

function queriedDisk(vm: LabVm, snapshot: Moref | undefined, deviceKey: number): QueriedDisk {
  if (!snapshot) {
    const live = vm.disks.find((disk) => disk.record.key === deviceKey);
    if (!live) throw invalidArgument("deviceKey");
    return { vm, record: live.record, map: live, cacheKey: undefined, close: () => {} };
  }
  const taken = vm.snapshot(snapshot.value);
  if (!taken) throw objectNotFound(snapshot);
  const record = taken.disks.find((disk) => disk.key === deviceKey);
  if (!record) throw invalidArgument("deviceKey");
  if (!record.frozen) throw fileFault(hostPath(record.fileName));
  const map = openFrozenMap(vm.frozenImage(taken.moref, deviceKey));
  return { vm, record, map, cacheKey: `${taken.moref}/${deviceKey}`, close: () => map.close() };
}

/** FileFault unless the disk was tracked at that point in this very history. */
function areas({ lab }: CallContext, disk: QueriedDisk, changeId: string): Float64Array {
  const { record } = disk;
  const place = { vm: disk.vm.name, key: record.key };
  if (record.trackingUuid === undefined) throw fileFault(hostPath(record.fileName));
  if (changeId !== "*") {
    const match = /^(.*)\/(\d+)$/.exec(changeId);
    if (!match) throw invalidArgument("changeId");
    const epoch = Number(match[2]);
    const isLater = epoch > record.epoch && !lab.faults.peek("laterIdAnswered", place);
    if (match[1] !== record.trackingUuid || isLater) {
      throw fileFault(hostPath(record.fileName));
    }
  }
  const find = () =>
    changeId === "*"
      ? disk.map.allocated()
      : disk.map.changedAfter(Number(changeId.slice(changeId.lastIndexOf("/") + 1)));
  const found =
    disk.cacheKey === undefined ? find() : kept(disk.vm, `${disk.cacheKey}/${changeId}`, find);
  const left = changeId === "*" && lab.faults.peek("starLeavesOut", place);
  if (left) return withoutArea(found, Number(left.value ?? found[0]));
  const lies = record.trackedOverSnapshots && lab.faults.peek("changesLeftOut", place);
  return lies && changeId !== "*" ? everyOther(found) : found;
}

function withoutArea(pairs: Float64Array, byte: number): Float64Array {
  const at = pairs.findIndex(
    (offset, index) => index % 2 === 0 && offset <= byte && byte < offset + pairs[index + 1]!,
  );
  return at < 0 ? pairs : Float64Array.from([...pairs.slice(0, at), ...pairs.slice(at + 2)]);
}

/** The second area, the fourth and so on. */
function everyOther(pairs: Float64Array): Float64Array {
  return pairs.filter((_, index) => index % 4 >= 2);
}

function kept(vm: LabVm, key: string, find: () => Float64Array): Float64Array {
  const ofVm = areasKept.get(vm) ?? new Map<string, Float64Array>();
  areasKept.set(vm, ofVm);
  const found = ofVm.get(key) ?? find();
  ofVm.set(key, found);
  if (ofVm.size > areasKeptMax) ofVm.delete(ofVm.keys().next().value!);
  return found;
}

/** The areas from `startOffset` on, at most `limit`; the page ends with its last area, or the disk. */
function page(
  pairs: Float64Array,
  startOffset: number,
  capacityBytes: number,
  limit: number,
): VimObject {
  const found: [number, number][] = [];
  let truncated = false;
  for (let at = 0; at < pairs.length; at += 2) {
    const end = pairs[at]! + pairs[at + 1]!;
    if (end <= startOffset) continue;
    if (found.length === limit) {
      truncated = true;
      break;
    }
    const start = Math.max(pairs[at]!, startOffset);
    found.push([start, end - start]);
  }
  const last = found.at(-1);
  const end = truncated && last ? last[0] + last[1] : capacityBytes;
  return answer(startOffset, end - startOffset, found);
}

function answer(startOffset: number, length: number, found: [number, number][]): VimObject {
  return vimObject("DiskChangeInfo", {
    startOffset,
    length,
    changedArea: found.map(([start, areaLength]) =>
      vimObject("DiskChangeExtent", { start, length: areaLength }),
    ),
  });
}

/** The rest of the first area that ends after `offset`, as start and length. */
function areaFrom(pairs: Float64Array, offset: number): [number, number] | undefined {
  for (let at = 0; at < pairs.length; at += 2) {
    const end = pairs[at]! + pairs[at + 1]!;
    const start = Math.max(pairs[at]!, offset);
    if (end > offset) return [start, end - start];
  }
  return undefined;
}

export const changeOperations: Readonly<Record<string, Operation>> = {
  QueryChangedDiskAreas: queryChangedDiskAreas,
};
