/** What the control API offers. Machines are named by name, inventory path or moref in `vm`. */

import { randomBytesOf } from "./disk-content.ts";
import { type FaultName, type FaultRequest, faultDescriptions } from "./fault-board.ts";
import type { Fields } from "./fields.ts";
import { frozenCopies } from "./frozen-copies.ts";
import type { BackgroundOptions, RandomWritesOptions } from "./guest.ts";
import type { HostConnectionState } from "./inventory.ts";
import { describeLab } from "./lab-state.ts";
import { inventoryName } from "./records.ts";
import type { VcenterLab } from "./vcenter.ts";
import type {
  DiskSpec,
  HardwareSpec,
  PowerState,
  ToolsState,
  VmConnectionState,
  VmSpec,
} from "./vm-spec.ts";

type Route = (lab: VcenterLab, fields: Fields) => unknown;

const guestRoutes: Readonly<Record<string, Route>> = {
  /** {vm, key, offset, length, seed} writes random bytes; {…, zero: true} zeroes. */
  "POST /guest/write": async (lab, fields) => {
    const length = fields.number("length");
    const data = fields.flag("zero")
      ? { zeroLength: length }
      : randomBytesOf(fields.number("seed"), length);
    await vmOf(lab, fields).write(fields.number("key"), fields.number("offset"), data);
  },
  /** {vm, key, seed, writes, minimumBytes?, maximumBytes?, zeroRatio?, lastSector?} */
  "POST /guest/random": async (lab, fields) => {
    const written = await vmOf(lab, fields).randomWrites(fields.number("key"), {
      ...writeOptions(fields),
      seed: fields.number("seed"),
      writes: fields.number("writes"),
    });
    return { written };
  },
  /** {vm, seed, intervalMs?, keys?, minimumBytes?, maximumBytes?, zeroRatio?} */
  "POST /guest/start": (lab, fields) => {
    const { keys, ...options } = {
      ...writeOptions(fields),
      seed: fields.number("seed"),
      intervalMs: fields.optionalNumber("intervalMs"),
      keys: fields.all.keys as number[] | undefined,
    };
    return vmOf(lab, fields).guest.start(
      withoutUndefined({ ...options, keys }) as unknown as BackgroundOptions,
    );
  },
  /** {vm}; answers what was written */
  "POST /guest/stop": async (lab, fields) => {
    const { guest } = vmOf(lab, fields);
    await guest.stop();
    return { written: guest.written };
  },
};

const vmRoutes: Readonly<Record<string, Route>> = {
  /** {spec: VmSpec} */
  "POST /vm/add": async (lab, fields) => {
    const vm = await lab.addVm(fields.object<VmSpec>("spec"));
    return { moref: vm.moref, path: vm.path };
  },
  /** {vm, name} */
  "POST /vm/clone": async (lab, fields) => {
    const vm = await lab.cloneVm(vmOf(lab, fields), fields.text("name"));
    return { moref: vm.moref, path: vm.path };
  },
  /** {vm}: out of the inventory */
  "POST /vm/remove": (lab, fields) => lab.removeVm(vmOf(lab, fields)),
  /** {vm, key, capacityBytes} */
  "POST /vm/grow": (lab, fields) =>
    vmOf(lab, fields).growDisk(fields.number("key"), fields.number("capacityBytes")),
  /** {vm, disk: DiskSpec} */
  "POST /vm/addDisk": async (lab, fields) => {
    const disk = await vmOf(lab, fields).addDisk(fields.object<DiskSpec>("disk"));
    return { key: disk.record.key };
  },
  /** {vm, key} */
  "POST /vm/removeDisk": (lab, fields) => vmOf(lab, fields).removeDisk(fields.number("key")),
  /** {vm, key, newKey}: the disk at another unit or controller */
  "POST /vm/rekeyDisk": (lab, fields) =>
    vmOf(lab, fields).rekeyDisk(fields.number("key"), fields.number("newKey")),
  /** {vm, host?, datastore?, key?, resetTracking?}: files of snapshots move with the disks */
  "POST /vm/move": (lab, fields) =>
    vmOf(lab, fields).move({
      ...withoutUndefined({
        host: fields.optionalText("host"),
        datastore: fields.optionalText("datastore"),
        key: fields.optionalNumber("key"),
      }),
      resetTracking: fields.flag("resetTracking"),
    }),
  /** {vm}: what removed snapshots left behind is merged; files of others may get other names */
  "POST /vm/consolidate": (lab, fields) => vmOf(lab, fields).consolidate(),
  /** {vm, name?, folder?} */
  "POST /vm/rename": (lab, fields) =>
    lab.renameVm(
      vmOf(lab, fields),
      withoutUndefined({
        name: fields.optionalText("name"),
        folder: fields.optionalText("folder"),
      }),
    ),
  /** {vm, name, description?}: a user's snapshot */
  "POST /vm/snapshot": async (lab, fields) => {
    const snapshot = await vmOf(lab, fields).createSnapshot({
      name: fields.text("name"),
      description: fields.optionalText("description") ?? "",
      quiesced: false,
    });
    return { moref: snapshot.moref };
  },
  /** {vm, snapshot, removeChildren?, merge? [true]: false leaves it to be consolidated} */
  "POST /vm/removeSnapshot": (lab, fields) =>
    vmOf(lab, fields).removeSnapshot(fields.text("snapshot"), {
      removeChildren: fields.flag("removeChildren"),
      merge: fields.all.merge !== false,
    }),
  /** {vm, snapshot, keepTracking?: the same tracking UUID, and numbers are given again} */
  "POST /vm/revert": (lab, fields) =>
    vmOf(lab, fields).revertTo(fields.text("snapshot"), {
      keepTracking: fields.flag("keepTracking"),
    }),
  /** {vm, state: poweredOn|poweredOff|suspended} */
  "POST /vm/power": (lab, fields) =>
    vmOf(lab, fields).setPowerState(fields.text("state") as PowerState),
  /** {vm, key?}: a new tracking UUID now */
  "POST /vm/resetTracking": (lab, fields) =>
    vmOf(lab, fields).resetChangeTracking(fields.optionalNumber("key")),
  /**
   * {vm, tools?, hardwareVersion?, consolidationNeeded?, changeTracking?, template?, hardware?: HardwareSpec,
   * connectionState?: disconnected|orphaned|inaccessible|invalid}
   */
  "POST /vm/set": (lab, fields) => {
    const vm = vmOf(lab, fields);
    const { tools, hardwareVersion, consolidationNeeded, changeTracking, template } = fields.all;
    const { hardware, connectionState } = fields.all;
    vm.set(
      withoutUndefined({
        tools: tools as ToolsState | undefined,
        hardwareVersion: hardwareVersion as number | undefined,
        consolidationNeeded: consolidationNeeded as boolean | undefined,
        changeTrackingEnabled: changeTracking as boolean | undefined,
        template: template as boolean | undefined,
        hardware: hardware as Partial<HardwareSpec> | undefined,
        connectionState: connectionState as VmConnectionState | undefined,
      }),
    );
  },
};

export const controlRoutes: Readonly<Record<string, Route>> = {
  "GET /": () => ({ routes: Object.keys(controlRoutes), faults: faultDescriptions }),
  "GET /state": (lab) => describeLab(lab),
  /** ?after=N: calls with a higher number */
  "GET /log": (lab, fields) => {
    const after = fields.optionalNumber("after") ?? 0;
    return { calls: lab.log.calls.filter((call) => call.number > after) };
  },
  "POST /log/clear": (lab) => lab.log.clear(),
  /** ?vm&key&since=changeId[&snapshot=moref]: what really changed, until now or until that snapshot */
  "GET /truth": (lab, fields) => {
    const pairs = vmOf(lab, fields).changedSince(
      fields.number("key"),
      fields.text("since"),
      fields.optionalText("snapshot"),
    );
    const areas = Array.from({ length: pairs.length / 2 }, (_, index) => ({
      offset: pairs[2 * index]!,
      length: pairs[2 * index + 1]!,
    }));
    return { areas, bytes: areas.reduce((sum, area) => sum + area.length, 0) };
  },
  /** ?vm: copies made at snapshots that are still kept, oldest first */
  "GET /frozen": (lab, fields) => {
    const vm = fields.optionalText("vm");
    return { frozen: frozenCopies(lab.labDir, vm === undefined ? undefined : lab.vm(vm).moref) };
  },
  "GET /faults": (lab) => ({ faults: lab.faults.list() }),
  /** {name, count?, for_ms?, skip?, vm?, key?, method?, value?, fault?: {type, text}} */
  "POST /faults": (lab, fields) => {
    lab.faults.add(fields.all as unknown as FaultRequest);
    return { faults: lab.faults.list() };
  },
  /** {name?}: this fault, or all of them */
  "POST /faults/clear": (lab, fields) => {
    lab.faults.clear(fields.optionalText("name") as FaultName | undefined);
    return { faults: lab.faults.list() };
  },
  /** {version, apiVersion}: what the endpoint says that it is */
  "POST /release": (lab, fields) =>
    lab.setRelease({ version: fields.text("version"), apiVersion: fields.text("apiVersion") }),
  /** {host, version?, connectionState?: connected|disconnected|notResponding} */
  "POST /host/set": (lab, fields) =>
    lab.setHost(
      fields.text("host"),
      withoutUndefined({
        version: fields.optionalText("version"),
        connectionState: fields.optionalText("connectionState") as HostConnectionState | undefined,
      }),
    ),
  "POST /sessions/expire": (lab) => lab.sessions.expireAll(),
  /** {ms?}: nobody listens for so long */
  "POST /restart": (lab, fields) => lab.refuseConnections(fields.optionalNumber("ms") ?? 1000),
  ...guestRoutes,
  ...vmRoutes,
};

function vmOf(lab: VcenterLab, fields: Fields) {
  const wanted = fields.text("vm");
  return lab.vm(lab.vms.find((vm) => inventoryName(vm.name) === wanted)?.moref ?? wanted);
}

function writeOptions(fields: Fields): Partial<RandomWritesOptions> {
  return withoutUndefined({
    minimumBytes: fields.optionalNumber("minimumBytes"),
    maximumBytes: fields.optionalNumber("maximumBytes"),
    zeroRatio: fields.optionalNumber("zeroRatio"),
    lastSector: fields.all.lastSector === undefined ? undefined : fields.flag("lastSector"),
  });
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function withoutUndefined<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(
    Object.entries(value).filter(([, item]) => item !== undefined),
  ) as Defined<T>;
}
