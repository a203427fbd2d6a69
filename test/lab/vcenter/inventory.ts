/** The tree of folders, hosts, datastores and machines, and the lookups in it. */

import { datastoreProperty, hostProperty, networkProperty } from "./host-properties.ts";
import { type ApiType, type InventoryNames, inventoryNames } from "./inventory-names.ts";
import type { LabVm } from "./lab-vm.ts";
import type { ManagedEntity, ManagedObject } from "./managed-object.ts";
import { inventoryName, type VmRecord } from "./records.ts";
import { Moref, type VimValue } from "./vim-values.ts";
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
  /** Of a datastore, where it is not the usual tebibyte. */
  readonly freeBytes = new Map<string, number>();
  readonly vms: LabVm[] = [];
  readonly #nextNumber: () => number;

  constructor(options: {
    apiType: ApiType;
    release: Release;
    hosts: readonly HostDescription[];
    datastores: readonly string[];
    folderMorefs: Record<string, string>;
    nextNumber: () => number;
  }) {
    this.apiType = options.apiType;
    this.release = options.release;
    this.names = inventoryNames(options.apiType);
    this.hosts = options.hosts;
    this.datastores = options.datastores;
    this.folderMorefs = options.folderMorefs;
    this.#nextNumber = options.nextNumber;
  }

  addVm(vm: LabVm): void {
    this.addFolder(vm.record.folder);
    this.vms.push(vm);
  }

  /** `A/B`, with those above it. */
  addFolder(folder: string): void {
    const parts = folder.split("/").filter((part) => part !== "");
    for (let depth = 1; depth <= parts.length; depth += 1) {
      this.folderMorefs[parts.slice(0, depth).join("/")] ??= `group-v${this.#nextNumber()}`;
    }
  }

  vmByMoref(moref: string): LabVm | undefined {
    return this.vms.find((vm) => vm.moref === moref);
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
      return vm && this.#vm(vm, this.#parentOf(vm));
    }
    for (const entity of this.#walk(this.root())) {
      if (entity.ref.type === ref.type && entity.ref.value === ref.value) return entity;
    }
    return undefined;
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

  /** All entities below `container`, or its direct children. */
  below(container: ManagedEntity, recursive: boolean): ManagedEntity[] {
    if (!recursive) return container.children();
    return [...this.#walk(container)].slice(1);
  }

  root(): ManagedEntity {
    const { names } = this;
    return this.#entity(names.rootFolder, names.rootFolderName, undefined, (root) => [
      this.#datacenter(root),
    ]);
  }

  *#walk(entity: ManagedEntity): Generator<ManagedEntity> {
    yield entity;
    for (const child of entity.children()) yield* this.#walk(child);
  }

  #datacenter(root: ManagedEntity): ManagedEntity {
    const { names } = this;
    const folders = (parent: ManagedEntity) => [
      this.#vmFolder(names.vmFolder, "vm", "", parent),
      this.#entity(names.hostFolder, "host", parent, (host) => [this.#cluster(host)], {
        childType: ["Folder", "ComputeResource"],
      }),
      this.#entity(names.datastoreFolder, "datastore", parent, (folder) => this.#stores(folder), {
        childType: ["Folder", "Datastore", "StoragePod"],
      }),
      this.#entity(names.networkFolder, "network", parent, (folder) => this.#networks(folder), {
        childType: ["Folder", "Network", "DistributedVirtualSwitch"],
      }),
    ];
    return this.#entity(names.datacenter, names.datacenterName, root, folders, {
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
          this.#vmFolder(
            new Moref("Folder", moref),
            inventoryName(folder.slice(folder.lastIndexOf("/") + 1)),
            folder,
            self,
          ),
        ),
      ...this.vms.filter((vm) => vm.record.folder === path).map((vm) => this.#vm(vm, self)),
    ];
    return this.#entity(ref, name, parent, children, {
      childType: ["Folder", "VirtualMachine", "VirtualApp"],
    });
  }

  #vm(vm: LabVm, parent: ManagedEntity): ManagedEntity {
    const ref = new Moref("VirtualMachine", vm.moref);
    const entity = this.#entity(ref, inventoryName(vm.name), parent, () => []);
    return {
      ...entity,
      property: (name) => vmProperty(vm, this, name) ?? entity.property(name),
    };
  }

  #parentOf(vm: LabVm): ManagedEntity {
    const { datacenterName } = this.names;
    const folder = vm.record.folder.split("/").filter((part) => part !== "");
    return this.findByPath([datacenterName, "vm", ...folder.map(inventoryName)].join("/"))!;
  }

  #cluster(parent: ManagedEntity): ManagedEntity {
    const { names } = this;
    const hosts = this.hosts.map((host) => new Moref("HostSystem", host.moref));
    return this.#entity(
      names.cluster,
      names.clusterName,
      parent,
      (self) => [
        ...this.hosts.map((host) => this.#host(host, self)),
        this.#entity(names.resourcePool, "Resources", self, () => [], {
          owner: names.cluster,
          vm: this.vms.map((vm) => new Moref("VirtualMachine", vm.moref)),
        }),
      ],
      { host: hosts, resourcePool: names.resourcePool },
    );
  }

  #host(host: HostDescription, parent: ManagedEntity): ManagedEntity {
    const ref = new Moref("HostSystem", host.moref);
    const entity = this.#entity(ref, host.name, parent, () => []);
    return {
      ...entity,
      property: (name) => hostProperty(host, this, name) ?? entity.property(name),
    };
  }

  #stores(parent: ManagedEntity): ManagedEntity[] {
    return this.datastores.map((store) => {
      const entity = this.#entity(this.datastoreRef(store), store, parent, () => []);
      return {
        ...entity,
        property: (name) => datastoreProperty(store, this, name) ?? entity.property(name),
      };
    });
  }

  #networks(parent: ManagedEntity): ManagedEntity[] {
    const entity = this.#entity(new Moref("Network", "network-20"), "VM Network", parent, () => []);
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

  #entity(
    ref: Moref,
    name: string,
    parent: ManagedEntity | undefined,
    children: (self: ManagedEntity) => ManagedEntity[],
    properties: Readonly<Record<string, VimValue>> = {},
  ): ManagedEntity {
    const self: ManagedEntity = {
      ref,
      name,
      parent,
      children: () => children(self),
      property: (property) => {
        if (property === "name") return name;
        if (property === "parent") return parent?.ref;
        if (property === "overallStatus" || property === "configStatus") return "green";
        if (property === "childEntity" && ref.type === "Folder") {
          return self.children().map((child) => child.ref);
        }
        if (property === "childType" && ref.type === "Folder" && !properties.childType) {
          return ["Folder", "Datacenter"];
        }
        return properties[property];
      },
    };
    return self;
  }
}

function parentPath(folder: string): string {
  const slash = folder.lastIndexOf("/");
  return slash === -1 ? "" : folder.slice(0, slash);
}
