/** The simulator's memory: one JSON file, replaced whole at each change, so that a kill -9 loses nothing. */

import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import type { HostDescription, Release } from "./inventory.ts";
import type { ApiType } from "./inventory-names.ts";
import type { VmRecord } from "./records.ts";
import { writeWhole } from "./vddk-files.ts";

export interface SavedState {
  version: 1;
  /** Ports, so that a restart is found at the same place. */
  port: number;
  controlPort: number;
  apiType: ApiType;
  /** Absent in states of older labs. */
  release?: Release;
  instanceUuid: string;
  nextNumber: number;
  hosts: HostDescription[];
  datastores: string[];
  folderMorefs: Record<string, string>;
  /** Absent in states of older labs. */
  vAppMorefs?: Record<string, string>;
  vms: VmRecord[];
}

export function stateFile(labDir: string): string {
  return path.join(labDir, "vcenter", "state.json");
}

export function loadState(labDir: string): SavedState | undefined {
  const file = stateFile(labDir);
  if (!existsSync(file)) return undefined;
  return JSON.parse(readFileSync(file, "utf8")) as SavedState;
}

export function saveState(labDir: string, state: SavedState): void {
  writeWhole(stateFile(labDir), JSON.stringify(state));
}
