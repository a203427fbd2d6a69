/** The tree of folders, hosts, datastores and machines, and the lookups in it. */

import { datastoreProperty, hostProperty, networkProperty } from "./host-properties.ts";
import { type ApiType, type InventoryNames, inventoryNames } from "./inventory-names.ts";
import { lastName, parentPath, pathBelow, vAppPath } from "./inventory-paths.ts";
import type { LabVm } from "./lab-vm.ts";
import { entityOf, type ManagedEntity, type ManagedObject } from "./managed-object.ts";
import { inventoryName, type VmRecord } from "./records.ts";
import { Moref } from "./vim-values.ts";
import { snapshotProperty, vmProperty } from "./vm-properties.ts";

export interface HostDescription {
  /** Name as the inventory and VDDK use it; must resolve to where NFC listens. */
  name: string;
  moref: string;
  /** Of its hardware; empty: the host does not tell. */
  uuid: string;
  /** Of its ESXi; absent: the endpoint's. */
  version?: string;
  /** Absent: connected. */
  connectionState?: HostConnectionState;
}

export type HostConnectionState = "connected" | "disconnected" | "notResponding";

/** What the endpoint says that it is. */
export interface Release {
  version: string;
  apiVersion: string;
}

export class Inventory {
  readonly names: InventoryNames;
  readonly apiType: ApiType;
  readonly release: Release;
  readonly hosts: readonly HostDescription[];
  readonly datastores: readonly string[];
  /** Folder path below the vm folder -> moref. Grows, is part of the saved state. */
  readonly folderMorefs: Record<string, string>;
  /** `Folder/Nested/vApp` -> moref; as the folders'. */
  readonly vAppMorefs: Record<string, string>;
  /** Of a datastore, where it is not the usual tebibyte. */
  readonly freeBytes = new Map<string, number>();
  readonly vms: LabVm[] = [];
  readonly #byMoref = new Map<string, LabVm>();
  readonly #nextNumber: () => number;

  constructor(options: {
    apiType: ApiType;
    release: Release;
    hosts: readonly HostDescription[];
    datastores: readonly string[];
    folderMorefs: Record<string, string>;
    vAppMorefs: Record<string, string>;
    nextNumber: () => number;
  }) {
    this.apiType = options.apiType;
    this.release = options.release;
    this.names = inventoryNames(options.apiType);
    this.hosts = options.hosts;
    this.datastores = options.datastores;
    this.folderMorefs = options.folderMorefs;
    this.vAppMorefs = options.vAppMorefs;
    this.#nextNumber = options.nextNumber;
  }

  addVm(vm: LabVm): void {
    const { folder, vApp } = vm.record;
    this.addFolder(folder);
    if (vApp !== undefined)
      this.vAppMorefs[pathBelow(folder, vApp)] ??= `resgroup-v${this.#nextNumber()}`;
    this.vms.push(vm);
    this.#byMoref.set(vm.moref, vm);
  }

  removeVm(vm: LabVm): void {
    this.vms.splice(this.vms.indexOf(vm), 1);
    this.#byMoref.delete(vm.moref);
  }

  /** `A/B`, with those above it. */
  addFolder(folder: string): void {
    const parts = folder.split("/").filter((part) => part !== "");
    for (let depth = 1; depth <= parts.length; depth += 1) {
      this.folderMorefs[parts.slice(0, depth).join("/")] ??= `group-v${this.#nextNumber()}`;
    }
  }

  vmByMoref(moref: string): LabVm | undefined {
    return this.#byMoref.get(moref);
  }

  /** The machine that owns a snapshot. */
  vmOfSnapshot(snapshotMoref: string): LabVm | undefined {
    return this.vms.find((vm) => vm.snapshot(snapshotMoref) !== undefined);
  }

  find(ref: Moref): ManagedObject | undefined {
    if (ref.type === "VirtualMachineSnapshot") {
      const vm = this.vmOfSnapshot(ref.value);
      const snapshot = vm?.snapshot(ref.value);
      if (!vm || !snapshot) return undefined;
      return { ref, property: (name) => snapshotProperty(vm, snapshot, this, name) };
    }
    return this.entity(ref);
  }

  entity(ref: Moref): ManagedEntity | undefined {
    if (ref.type === "VirtualMachine") {
      const vm = this.vmByMoref(ref.value);
      return vm && this.#vm(vm, () => this.#parentOf(vm));
    }
    const path = this.#pathOfFolder(ref);
    if (path !== undefined) return this.#atPath(path);
    const isElsewhere = (entity: ManagedEntity) => entity.ref.value !== this.names.vmFolder.value;
    for (const entity of this.#walk(this.root(), isElsewhere)) {
      if (entity.ref.type === ref.type && entity.ref.value === ref.value) return entity;
    }
    return undefined;
  }

  /** Below the vm folder, which is the empty path; of a vApp too. */
  #pathOfFolder({ type, value }: Moref): string | undefined {
    if (value === this.names.vmFolder.value) return "";
    const morefs = type === "VirtualApp" ? this.vAppMorefs : this.folderMorefs;
    return Object.keys(morefs).find((path) => morefs[path] === value);
  }

  #atPath(path: string): ManagedEntity {
    const folders = path.split("/").filter((part) => part !== "");
    const { datacenterName } = this.names;
    return this.findByPath([datacenterName, "vm", ...folders.map(inventoryName)].join("/"))!;
  }

  /** By a path such as `Datacenter/vm/Folder/VM`; names in it are escaped as in the inventory. */
  findByPath(inventoryPath: string): ManagedEntity | undefined {
    let at: ManagedEntity | undefined = this.root();
    for (const part of inventoryPath.split("/").filter((segment) => segment !== "")) {
      const wanted = part.replaceAll(/%[0-9A-F]{2}/gi, (code) => code.toLowerCase());
      at = at?.children().find((child) => child.name === wanted);
    }
    return at === undefined || at.ref.value === this.names.rootFolder.value ? undefined : at;
  }

  /**
   * All entities below `container`, each once, or its direct children. What lies in a vApp is found by way of
   * its resource pool, not of its folder: the reference of CreateContainerView promises of a folder no more than
   * the folders below it.
   */
  below(container: ManagedEntity, recursive: boolean): ManagedEntity[] {
    if (!recursive) return container.children();
    const found = [...this.#walk(container, ({ ref }) => ref.type !== "VirtualApp")].slice(1);
    return [...new Map(found.map((entity) => [entity.ref.toString(), entity])).values()];
  }

  root(): ManagedEntity {
    const { names } = this;
    return entityOf(names.rootFolder, names.rootFolderName, undefined, (root) => [
      this.#datacenter(root),
    ]);
  }

  *#walk(
    entity: ManagedEntity,
    follows: (entity: ManagedEntity) => boolean = () => true,
  ): Generator<ManagedEntity> {
    yield entity;
    for (const child of entity.children())
      if (follows(child)) yield* this.#walk(child, follows);
      else yield child;
  }

  #datacenter(root: ManagedEntity): ManagedEntity {
    const { names } = this;
    const folders = (parent: ManagedEntity) => [
      this.#vmFolder(names.vmFolder, "vm", "", parent),
      entityOf(names.hostFolder, "host", parent, (host) => [this.#cluster(host)], {
        childType: ["Folder", "ComputeResource"],
      }),
      entityOf(names.datastoreFolder, "datastore", parent, (folder) => this.#stores(folder), {
        childType: ["Folder", "Datastore", "StoragePod"],
      }),
      entityOf(names.networkFolder, "network", parent, (folder) => this.#networks(folder), {
        childType: ["Folder", "Network", "DistributedVirtualSwitch"],
      }),
    ];
    return entityOf(names.datacenter, names.datacenterName, root, folders, {
      vmFolder: names.vmFolder,
      hostFolder: names.hostFolder,
      datastoreFolder: names.datastoreFolder,
      networkFolder: names.networkFolder,
      datastore: this.datastores.map((name) => this.datastoreRef(name)),
    });
  }

  #vmFolder(ref: Moref, name: string, path: string, parent: ManagedEntity): ManagedEntity {
    const children = (self: ManagedEntity) => [
      ...Object.entries(this.folderMorefs)
        .filter(([folder]) => parentPath(folder) === path && folder !== "")
        .map(([folder, moref]) =>
          this.#vmFolder(new Moref("Folder", moref), lastName(folder), folder, self),
        ),
      ...this.#vApps(path, self),
      ...this.vms
        .filter(({ record }) => record.folder === path && record.vApp === undefined)
        .map((vm) => this.#vm(vm, () => self)),
    ];
    return entityOf(ref, name, parent, children, {
      childType: ["Folder", "VirtualMachine", "VirtualApp"],
    });
  }

  /** Those of a folder. A vApp is a resource pool, and that is where its parent is. */
  #vApps(folder: string, parent: ManagedEntity): ManagedEntity[] {
    return Object.entries(this.vAppMorefs)
      .filter(([path]) => parentPath(path) === folder)
      .map(([path, moref]) => {
        const vms = this.vms.filter(({ record }) => vAppPath(record) === path);
        const children = (self: ManagedEntity) => vms.map((vm) => this.#vm(vm, () => self));
        const ref = new Moref("VirtualApp", moref);
        const entity = entityOf(ref, lastName(path), parent, children, {
          parentFolder: parent.ref,
          vm: vms.map((vm) => new Moref("VirtualMachine", vm.moref)),
        });
        const property = (name: string) =>
          name === "parent" ? this.names.resourcePool : entity.property(name);
        return { ...entity, property };
      });
  }

  vAppOf(vm: VmRecord): Moref | undefined {
    const moref = this.vAppMorefs[vAppPath(vm) ?? ""];
    return moref === undefined ? undefined : new Moref("VirtualApp", moref);
  }

  /** The parent is looked for when it is asked for: in thousands of machines that takes its time. */
  #vm(vm: LabVm, parent: () => ManagedEntity): ManagedEntity {
    const ref = new Moref("VirtualMachine", vm.moref);
    const entity = entityOf(ref, inventoryName(vm.name), undefined, () => []);
    return {
      ...entity,
      get parent() {
        return parent();
      },
      property: (name) => {
        // One in a vApp has no folder of its own.
        if (name === "parent") return vm.record.vApp === undefined ? this.#folderOf(vm) : undefined;
        return vmProperty(vm, this, name) ?? entity.property(name);
      },
    };
  }

  #folderOf({ record: { folder } }: LabVm): Moref {
    const moref = this.folderMorefs[folder];
    return moref === undefined ? this.names.vmFolder : new Moref("Folder", moref);
  }

  #parentOf({ record }: LabVm): ManagedEntity {
    return this.#atPath(vAppPath(record) ?? record.folder);
  }

  #cluster(parent: ManagedEntity): ManagedEntity {
    const { names } = this;
    const hosts = this.hosts.map((host) => new Moref("HostSystem", host.moref));
    return entityOf(
      names.cluster,
      names.clusterName,
      parent,
      (self) => [
        ...this.hosts.map((host) => this.#host(host, self)),
        entityOf(names.resourcePool, "Resources", self, (pool) => this.#pooled(pool), {
          owner: names.cluster,
          vm: this.vms.map((vm) => new Moref("VirtualMachine", vm.moref)),
        }),
      ],
      { host: hosts, resourcePool: names.resourcePool },
    );
  }

  /** The machines of the cluster's pool; those in a vApp by way of it. */
  #pooled(pool: ManagedEntity): ManagedEntity[] {
    const vms = this.vms.filter(({ record }) => record.vApp !== undefined);
    return vms.map((vm) => this.#vm(vm, () => pool));
  }

  #host(host: HostDescription, parent: ManagedEntity): ManagedEntity {
    const ref = new Moref("HostSystem", host.moref);
    const entity = entityOf(ref, host.name, parent, () => []);
    return {
      ...entity,
      property: (name) => hostProperty(host, this, name) ?? entity.property(name),
    };
  }

  #stores(parent: ManagedEntity): ManagedEntity[] {
    return this.datastores.map((store) => {
      const entity = entityOf(this.datastoreRef(store), store, parent, () => []);
      return {
        ...entity,
        property: (name) => datastoreProperty(store, this, name) ?? entity.property(name),
      };
    });
  }

  #networks(parent: ManagedEntity): ManagedEntity[] {
    const entity = entityOf(new Moref("Network", "network-20"), "VM Network", parent, () => []);
    return [
      { ...entity, property: (name) => networkProperty(this, name) ?? entity.property(name) },
    ];
  }

  datastoreRef(name: string): Moref {
    return new Moref("Datastore", `datastore-${30 + this.datastores.indexOf(name)}`);
  }

  host(name: string): HostDescription {
    return this.hosts.find((candidate) => candidate.name === name) ?? this.hosts[0]!;
  }

  /** A machine is out of reach with its host; what the vCenter knows of it is still told. */
  isConnected(vm: Pick<VmRecord, "host">): boolean {
    return (this.host(vm.host).connectionState ?? "connected") === "connected";
  }

  hostRef(name: string): Moref {
    return new Moref("HostSystem", this.host(name).moref);
  }
}
