/**
 * The laboratory's vCenter: an independent stand-in that speaks vim25 over HTTPS, keeps disk images, freezes
 * them at snapshots and tracks what its guests change. Used by tests in-process, and by `npm run lab`.
 */

import { mkdirSync } from "node:fs";
import path from "node:path";
import { CallLog } from "./call-log.ts";
import { labCertificate } from "./certificate.ts";
import { ControlServer } from "./control-server.ts";
import { FaultBoard } from "./fault-board.ts";
import {
  type FrozenCopy,
  frozenCopies,
  pruneFrozenCopies,
  writeFrozenCopy,
} from "./frozen-copies.ts";
import { type HostDescription, Inventory, type Release } from "./inventory.ts";
import type { LabCore } from "./lab-core.ts";
import { LabDisk } from "./lab-disk.ts";
import { LabVm } from "./lab-vm.ts";
import { newDiskRecord, newVmRecord } from "./new-records.ts";
import { Sessions } from "./sessions.ts";
import { SoapServer } from "./soap-server.ts";
import { loadState, type SavedState, saveState } from "./state-file.ts";
import { TaskList } from "./tasks.ts";
import { UpdateSignal } from "./update-signal.ts";
import { defaultRelease, newState, type VcenterOptions } from "./vcenter-options.ts";
import { writeCredentials, writeSnapshotMaps } from "./vddk-files.ts";
import type { VmEnvironment } from "./vm-environment.ts";
import { defaultVms, type VmSpec } from "./vm-spec.ts";

export type { VcenterOptions };

/** Starts a lab, or takes up the one that `labDir` holds. */
export async function startVcenter(options: VcenterOptions): Promise<VcenterLab> {
  mkdirSync(path.join(options.labDir, "vcenter"), { recursive: true });
  const certificate = await labCertificate(path.join(options.labDir, "vcenter"));
  const state = loadState(options.labDir) ?? newState(options);
  // Numbers given to tasks are not saved one by one: none may come twice.
  state.nextNumber += 1000;
  const lab = new VcenterLab(options, state, certificate);
  await lab.open();
  return lab;
}

export class VcenterLab implements AsyncDisposable {
  readonly labDir: string;
  readonly username: string;
  readonly password: string;
  /** `AA:BB:…`, 20 pairs. */
  readonly thumbprintSha1: string;
  /** `AA:BB:…`, 32 pairs. */
  readonly thumbprintSha256: string;
  /** PEM file of the server's certificate. */
  readonly certificatePath: string;
  readonly faults = new FaultBoard();
  readonly log = new CallLog();
  readonly inventory: Inventory;
  readonly sessions: Sessions;
  readonly #options: VcenterOptions;
  readonly #state: SavedState;
  readonly #updates = new UpdateSignal();
  readonly #tasks: TaskList;
  readonly #server: SoapServer;
  readonly #control: ControlServer;
  #opened = false;
  #stopped: Promise<void> | undefined;

  constructor(
    options: VcenterOptions,
    state: SavedState,
    certificate: Awaited<ReturnType<typeof labCertificate>>,
  ) {
    this.#options = options;
    this.#state = state;
    this.labDir = options.labDir;
    this.username = options.username ?? "admin@vsphere.local";
    this.password = options.password ?? "lab-Secret-42";
    this.thumbprintSha1 = certificate.sha1;
    this.thumbprintSha256 = certificate.sha256;
    this.certificatePath = certificate.certificatePath;
    const { username, password } = this;
    const others = options.users ?? [
      { username: "readonly@vsphere.local", password, missingPrivileges: ["*"] },
    ];
    this.sessions = new Sessions(
      [{ username, password }, ...others],
      options.sessionIdleMs ?? 1_800_000,
    );
    state.release ??= { ...defaultRelease };
    state.vAppMorefs ??= {};
    this.inventory = new Inventory({
      ...state,
      release: state.release,
      vAppMorefs: state.vAppMorefs,
      nextNumber: () => this.#nextNumber(),
    });
    this.#tasks = new TaskList({
      faults: this.faults,
      nextNumber: () => this.#nextNumber(),
      changed: () => this.#updates.notify(),
    });
    this.#server = new SoapServer(this.#core(), certificate);
    this.#control = new ControlServer(this);
  }

  /** Of the vCenter, as AboutInfo tells it. */
  get instanceUuid(): string {
    return this.#state.instanceUuid;
  }

  /** `127.0.0.1:PORT` */
  get endpoint(): string {
    return `127.0.0.1:${this.#server.port}`;
  }

  /** `http://127.0.0.1:PORT`, see control-server.ts for what it offers. */
  get controlUrl(): string {
    return `http://127.0.0.1:${this.#control.port}`;
  }

  get vms(): readonly LabVm[] {
    return this.inventory.vms;
  }

  /** TCP connections the SOAP server has accepted. */
  get connections(): number {
    return this.#server.connections;
  }

  /** By name, inventory path or moref. */
  vm(wanted: string): LabVm {
    const found = this.vms.find((vm) => [vm.name, vm.path, vm.moref].includes(wanted));
    if (!found) throw new RangeError(`The lab has no VM ${wanted}`);
    return found;
  }

  /** Copies made at snapshots that are still kept, oldest first; of one machine or of all. */
  frozenCopies(vm?: LabVm): FrozenCopy[] {
    return frozenCopies(this.labDir, vm?.moref);
  }

  async addVm(spec: VmSpec): Promise<LabVm> {
    const number = this.#nextNumber();
    const moref = this.inventory.apiType === "HostAgent" ? String(number) : `vm-${number}`;
    const base = spec.name.replaceAll(/[/\\%\p{Cc}]/gu, "_");
    const isTaken = this.vms.some((vm) => vm.record.directory === base);
    const directory = isTaken ? `${base}~${moref}` : base;
    const host = spec.host ?? this.inventory.hosts[0]!.name;
    const record = newVmRecord(spec, { moref, directory, host });
    const images = path.join(this.labDir, "disks", directory);
    const disks: LabDisk[] = [];
    for (const diskSpec of spec.disks) {
      const disk = newDiskRecord(record, diskSpec);
      record.disks.push(disk);
      if (!spec.paper) disks.push(await LabDisk.create(disk, images, diskSpec));
    }
    return this.#addVm(new LabVm(record, disks, this.#environment()));
  }

  /** Another machine with the same disks, another moref and instance UUID, tracking off. */
  async cloneVm(vm: LabVm, name: string): Promise<LabVm> {
    const { folder, hardwareVersion, tools, host, powerState } = vm.record;
    const disks = vm.disks.map(({ record, imagePath }) => ({
      key: record.key,
      capacityBytes: record.capacityBytes,
      image: imagePath,
    }));
    return this.addVm({ name, folder, hardwareVersion, tools, host, powerState, disks });
  }

  /** What the endpoint says that it is from now on, and its hosts where they say nothing else. */
  setRelease(release: Partial<Release>): void {
    Object.assign(this.inventory.release, release);
    this.#changed();
  }

  /** A host upgraded, disconnected or silent. */
  setHost(
    name: string,
    change: Partial<Pick<HostDescription, "version" | "connectionState">>,
  ): void {
    Object.assign(this.inventory.host(name), change);
    this.#changed();
  }

  /** A task of somebody else, as backup software has it: the machine's tasks wait for its end. */
  startOtherTask(vm: LabVm, name: string, durationMs: number): void {
    const descriptionId = `VirtualMachine.${name[0]!.toLowerCase()}${name.slice(1)}`;
    const user = "VSPHERE.LOCAL\\backup";
    this.#tasks.start({ name, descriptionId, vm, user, durationMs, run: async () => undefined });
  }

  /** Tells the stand-in VDDK where NFC listens, and the user name and password it shall ask for. */
  setNfc(nfc: string): void {
    this.#options.nfc = nfc;
    const { username, password, thumbprintSha1 } = this;
    writeCredentials(this.labDir, { username, password, thumbprintSha1, nfc });
  }

  /** Nobody listens for so long, and every session is gone, as in a restart of vCenter. */
  refuseConnections(milliseconds: number): Promise<void> {
    return this.#server.refuseConnections(milliseconds);
  }

  async open(): Promise<void> {
    for (const record of this.#state.vms) {
      const images = path.join(this.labDir, "disks", record.directory);
      const kept = record.paper ? [] : record.disks;
      const disks = await Promise.all(kept.map((disk) => LabDisk.reopen(disk, images)));
      this.inventory.addVm(new LabVm(record, disks, this.#environment()));
      // A lab that was killed right after a snapshot may not have come to this.
      for (const snapshot of record.snapshots) writeFrozenCopy(this.labDir, record, snapshot);
    }
    if (this.#state.vms.length === 0) {
      for (const spec of this.#options.vms ?? defaultVms()) await this.addVm(spec);
    }
    mkdirSync(path.join(this.labDir, "frozen"), { recursive: true });
    this.setNfc(this.#options.nfc ?? "localhost:902");
    await this.#server.listen("127.0.0.1", this.#options.port || this.#state.port);
    await this.#control.listen("127.0.0.1", this.#options.controlPort || this.#state.controlPort);
    this.#state.port = this.#server.port;
    this.#state.controlPort = this.#control.port;
    this.#opened = true;
    this.#changed();
  }

  /** Ends tasks and connections, and saves; the lab can be started again on the same directory. */
  stop(): Promise<void> {
    this.#stopped ??= (async () => {
      await this.#control.stop();
      await this.#server.stop();
      await this.#tasks.stop();
      await Promise.all(this.vms.map((vm) => vm.close()));
      this.#changed();
      // The directory may go now; nothing of a guest that still shuts down is written into it.
      this.#opened = false;
    })();
    return this.#stopped;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** Out of the inventory, as by an administrator; its images stay in the lab. */
  async removeVm(vm: LabVm): Promise<void> {
    this.inventory.removeVm(vm);
    this.#state.vms.splice(this.#state.vms.indexOf(vm.record), 1);
    this.#changed();
    await vm.close();
  }

  #addVm(vm: LabVm): LabVm {
    this.inventory.addVm(vm);
    this.#state.vms.push(vm.record);
    this.#changed();
    return vm;
  }

  #environment(): VmEnvironment {
    return {
      labDir: this.labDir,
      faults: this.faults,
      datacenterName: this.inventory.names.datacenterName,
      nextNumber: () => this.#nextNumber(),
      changed: () => this.#changed(),
    };
  }

  #core(): LabCore {
    const { areasPerPage, taskMs, snapshotMs, objectsPerPage } = this.#options;
    return {
      inventory: this.inventory,
      tasks: this.#tasks,
      sessions: this.sessions,
      faults: this.faults,
      log: this.log,
      updates: this.#updates,
      instanceUuid: this.#state.instanceUuid,
      settings: {
        areasPerPage: areasPerPage ?? 2000,
        taskMs: taskMs ?? 20,
        snapshotMs: snapshotMs ?? 60,
        objectsPerPage: objectsPerPage ?? 1000,
      },
      nextNumber: () => this.#nextNumber(),
      removeVm: (vm) => void this.removeVm(vm),
      pruneFrozen: async () => this.#pruneFrozen(),
    };
  }

  /** Another name, or folder (`A/B`, empty for the topmost); it stays the same machine. */
  renameVm(vm: LabVm, to: { name?: string; folder?: string }): void {
    this.inventory.addFolder(to.folder ?? vm.record.folder);
    vm.set(to);
  }

  #nextNumber(): number {
    const number = this.#state.nextNumber;
    this.#state.nextNumber += 1;
    return number;
  }

  #changed(): void {
    if (!this.#opened) return;
    writeSnapshotMaps(this.labDir, this.vms);
    saveState(this.labDir, this.#state);
    this.#updates.notify();
  }

  #pruneFrozen(): void {
    const existing = this.vms.flatMap((vm) => vm.snapshots.map(({ moref }) => moref));
    pruneFrozenCopies(this.labDir, new Set(existing), this.#options.frozenKept ?? 20);
  }
}
