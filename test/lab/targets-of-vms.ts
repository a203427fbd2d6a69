// A target volume and an export for every disk of every machine of the laboratory.

import { truncate } from "node:fs/promises";
import { join } from "node:path";
import type { NbdServer } from "./nbd-server.ts";
import {
  createVolume,
  type StunnelPair,
  startNbdServer,
  startQemuNbd,
  startStunnelPair,
} from "./targets.ts";
import type { LabVm } from "./vcenter/lab-vm.ts";

/** stunnel: nbd-server behind the TLS tunnel, as on the appliance. direct: nbd-server itself. */
export type TargetKind = "stunnel" | "direct" | "qemu-nbd";

export interface TargetDisk {
  readonly key: number;
  readonly capacityBytes: number;
  readonly exportName: string;
  /** Where migratekit writes. */
  readonly exportUri: string;
  /** The raw file behind the export. */
  readonly targetFile: string;
}

export interface LabTargets extends AsyncDisposable {
  readonly kind: TargetKind;
  /** What `--nbd-port` takes; with qemu-nbd every disk has a port of its own, and this is 0. */
  readonly port: number;
  /** The NBD servers: one nbd-server, or a qemu-nbd for each disk. */
  readonly servers: readonly NbdServer[];
  readonly tunnel: StunnelPair | undefined;
  disksOf(vm: LabVm): TargetDisk[];
  /** What `--nbd-export-name` takes for this machine. */
  exportTemplate(vm: LabVm): string;
  /** Volumes and exports for disks that came later or grew; what exists keeps its content. */
  addVm(vm: LabVm): Promise<void>;
  /** Another size for one volume; what lies within both sizes stays. */
  resize(vm: LabVm, key: number, capacityBytes: number): Promise<void>;
  /** Volumes of a machine empty again, as if just created. */
  reset(vm: LabVm): Promise<void>;
}

export interface TargetsOptions {
  labDir: string;
  kind: TargetKind;
  vms: readonly LabVm[];
  /** The port that migratekit connects to. */
  port?: number;
}

interface Volume {
  vm: LabVm;
  key: number;
  file: string;
  /** With qemu-nbd: the one that serves it. */
  server?: NbdServer;
}

/** The export name of the operators' documentation belongs to the machine of the documentation. */
const documentedVm = "MyVM";
const documentedExport = "migration-vol-uuid";

function slug(name: string): string {
  return name.replaceAll(/[^A-Za-z0-9._-]+/g, "_").slice(0, 200);
}

export async function startTargets(options: TargetsOptions): Promise<LabTargets> {
  const { labDir, kind } = options;
  const folder = join(labDir, "targets");
  const volumes = new Map<string, { vm: LabVm; key: number; file: string; server?: NbdServer }>();
  const exports: { name: string; file: string }[] = [];
  const servers: NbdServer[] = [];
  let tunnel: StunnelPair | undefined;

  const exportTemplate = (vm: LabVm) =>
    vm.name === documentedVm && vm.disks.length === 1 ? documentedExport : `${slug(vm.name)}-{key}`;
  const exportName = (vm: LabVm, key: number) => exportTemplate(vm).replace("{key}", String(key));
  const addVolumes = async (vm: LabVm): Promise<boolean> => {
    let added = false;
    for (const { record } of vm.disks) {
      const name = exportName(vm, record.key);
      if (volumes.has(name)) continue;
      const file = join(folder, `${name}.raw`);
      await createVolume(file, record.capacityBytes);
      const volume: Volume = { vm, key: record.key, file };
      if (kind === "qemu-nbd") {
        volume.server = await startQemuNbd({ file, exportName: name });
        servers.push(volume.server);
      }
      volumes.set(name, volume);
      exports.push({ name, file });
      added = true;
    }
    return added;
  };

  for (const vm of options.vms) await addVolumes(vm);
  await using failed = new AsyncDisposableStack();
  for (const server of servers) failed.use(server);
  if (kind !== "qemu-nbd") {
    const port = kind === "direct" ? options.port : undefined;
    servers.push(failed.use(await startNbdServer({ exports, folder, ...(port && { port }) })));
  }
  if (kind === "stunnel") {
    const targetPort = servers[0]!.port;
    const { port } = options;
    tunnel = failed.use(await startStunnelPair({ targetPort, folder, ...(port && { port }) }));
  }
  failed.move();

  const uriOf = (name: string) =>
    (tunnel?.client ?? volumes.get(name)?.server ?? servers[0]!).uriOf(name);
  return {
    kind,
    port: kind === "qemu-nbd" ? 0 : (tunnel?.port ?? servers[0]!.port),
    servers,
    get tunnel() {
      return tunnel;
    },
    exportTemplate,
    disksOf: (vm) =>
      vm.disks.map(({ record: { key, capacityBytes } }) => {
        const name = exportName(vm, key);
        const targetFile = volumes.get(name)?.file ?? "";
        return { key, capacityBytes, exportName: name, exportUri: uriOf(name), targetFile };
      }),
    addVm: async (vm) => {
      // nbd-server reads its exports when it starts; the list is the one it was given.
      if ((await addVolumes(vm)) && kind !== "qemu-nbd") await servers[0]!.restart();
    },
    resize: async (vm, key, capacityBytes) => {
      const volume = volumes.get(exportName(vm, key));
      if (!volume) throw new Error(`${vm.name} has no volume for disk ${key}`);
      await truncate(volume.file, capacityBytes);
      await volume.server?.restart(); // qemu-nbd reads the size once, nbd-server at each connection
    },
    reset: async (vm) => {
      for (const volume of volumes.values())
        if (volume.vm === vm)
          await createVolume(volume.file, vm.disk(volume.key).record.capacityBytes);
    },
    [Symbol.asyncDispose]: async () => {
      await tunnel?.stop();
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
}
