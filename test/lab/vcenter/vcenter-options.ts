/** What a caller may say about a lab, and the state a new one begins with. */

import { randomUUID } from "node:crypto";
import type { ApiType } from "./inventory-names.ts";
import type { UserAccount } from "./sessions.ts";
import type { SavedState } from "./state-file.ts";
import type { VmSpec } from "./vm-spec.ts";

export interface VcenterOptions {
  /** Directory of this lab; a state found in it is taken up, and `vms` ignored. */
  labDir: string;
  vms?: VmSpec[];
  /** 0 or absent: any free port, or the one of the state. */
  port?: number;
  controlPort?: number;
  /** Default admin@vsphere.local. */
  username?: string;
  password?: string;
  /** More accounts; default: readonly@vsphere.local (same password) without any privilege but System.*. */
  users?: UserAccount[];
  /** `HostAgent` makes it an ESXi host. */
  apiType?: ApiType;
  /** Names of the hosts; default localhost. */
  hosts?: string[];
  datastores?: string[];
  /** `host:port` where the NFC stand-in listens; default localhost:902. */
  nfc?: string;
  sessionIdleMs?: number;
  areasPerPage?: number;
  taskMs?: number;
  snapshotMs?: number;
  objectsPerPage?: number;
  /** Frozen copies kept, besides those of existing snapshots; default 20. They cost disk space. */
  frozenKept?: number;
}

export const defaultRelease = { version: "7.0.3", apiVersion: "7.0.3.0" };

export function newState(options: VcenterOptions): SavedState {
  const apiType = options.apiType ?? "VirtualCenter";
  return {
    version: 1,
    port: 0,
    controlPort: 0,
    apiType,
    release: { ...defaultRelease },
    instanceUuid: randomUUID(),
    nextNumber: 1,
    hosts: (options.hosts ?? ["localhost"]).map((name, index) => ({
      name,
      moref: apiType === "HostAgent" ? "ha-host" : `host-${9 + index}`,
      uuid: randomUUID(),
    })),
    datastores: options.datastores ?? ["datastore1"],
    folderMorefs: {},
    vms: [],
  };
}
