/** What the stand-in libvixDiskLib reads: credentials, and where each snapshot's disk lies. */

import { chmodSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { LabVm } from "./lab-vm.ts";

export interface VddkCredentials {
  username: string;
  password: string;
  thumbprintSha1: string;
  /** `host:port` where the lab's NFC stand-in listens. */
  nfc: string;
}

export function writeCredentials(labDir: string, credentials: VddkCredentials): void {
  const { username, password, thumbprintSha1, nfc } = credentials;
  const file = path.join(labDir, "vddk", "credentials");
  mkdirSync(path.dirname(file), { recursive: true });
  writeWhole(file, `${username}\n${password}\n${thumbprintSha1}\n${nfc}\n`);
  chmodSync(file, 0o600);
}

/** Makes `labDir/vddk/snapshots` agree with the snapshots that exist. */
export function writeSnapshotMaps(labDir: string, vms: readonly LabVm[]): void {
  const root = path.join(labDir, "vddk", "snapshots");
  mkdirSync(root, { recursive: true });
  const existing = new Set<string>();
  for (const vm of vms) {
    for (const snapshot of vm.snapshots) {
      existing.add(snapshot.moref);
      const directory = path.join(root, snapshot.moref);
      mkdirSync(directory, { recursive: true });
      for (const disk of snapshot.disks.filter((candidate) => candidate.frozen)) {
        const image = path.resolve(vm.frozenImage(snapshot.moref, disk.key));
        writeWhole(
          path.join(directory, `${disk.key}.map`),
          `${vm.moref}\n${disk.fileName}\n${image}\n`,
        );
      }
    }
  }
  for (const moref of readdirSync(root)) {
    if (!existing.has(moref)) rmSync(path.join(root, moref), { recursive: true, force: true });
  }
}

/** A reader sees the old file or the new one, never half of one. */
export function writeWhole(file: string, content: string): void {
  const temporary = `${file}.tmp`;
  writeFileSync(temporary, content);
  renameSync(temporary, file);
}
