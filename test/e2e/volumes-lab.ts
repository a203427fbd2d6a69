// The laboratory with CloudStack behind it: volumes for targets, exported by migratekit itself.

import assert from "node:assert/strict";
import { join } from "node:path";
import type { CloudStackLab, CloudStackOptions } from "../lab/cloudstack/cloudstack.ts";
import { startCloudStack } from "../lab/cloudstack/cloudstack.ts";
import { compareFiles } from "../lab/compare.ts";
import { cloudStackArgs, type Exporter, startExporter } from "../lab/exporter.ts";
import type { CliRun } from "../lab/run-cli.ts";
import { type Lab, startLab } from "../lab/start-lab.ts";
import type { LabVm } from "../lab/vcenter/lab-vm.ts";
import type { VmSpec } from "../lab/vcenter/vm-spec.ts";
import { type runCommand, startCommand } from "./cli-commands.ts";

export interface VolumesLab extends AsyncDisposable {
  readonly lab: Lab;
  readonly cloud: CloudStackLab;
  readonly exporter: Exporter;
  /** Any command with `--cloudstack-volumes create`, or as `volumes` says. */
  run(command: string, vm: LabVm, options?: RunOptions): ReturnType<typeof runCommand>;
  /** The same, to be watched while it runs. */
  start(command: string, vm: LabVm, options?: RunOptions, env?: Record<string, string>): CliRun;
  /** The id of the one volume that was made for a disk. */
  volumeOf(vm: LabVm, key: number): string;
  assertEqual(vm: LabVm, volumes?: ReadonlyMap<number, string>): Promise<void>;
}

export interface RunOptions {
  readonly volumes?: string;
  /** How CloudStack is reached. [by flags] */
  readonly cloudArgs?: readonly string[];
  readonly extra?: readonly string[];
}

export async function startVolumesLab(
  vms: VmSpec[],
  options: CloudStackOptions & { exportArgs?: (cloud: CloudStackLab) => string[] } = {},
): Promise<VolumesLab> {
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(await startLab({ targets: "direct", vms }));
  const cloud = stack.use(await startCloudStack({ boots: false, ...options }));
  const args = [...cloudStackArgs(cloud), ...(options.exportArgs?.(cloud) ?? [])];
  const stateDir = join(lab.dir, "exporter");
  const exporter = stack.use(await startExporter(cloud, { stateDir, args }));
  const volumeOf = (vm: LabVm, key: number) => {
    const name = `migratekit-${vm.record.instanceUuid.toLowerCase()}-disk-${key}`;
    const found = cloud.volumes().filter((volume) => volume.name === name);
    assert.equal(found.length, 1, `${found.length} volumes called ${name}`);
    return found[0]!.id;
  };
  const start: VolumesLab["start"] = (command, vm, options = {}, env = {}) => {
    const { volumes = "create", cloudArgs = cloudStackArgs(cloud), extra = [] } = options;
    const args = [
      ...["--nbd-port", String(exporter.port), "--cloudstack-volumes", volumes, "--json"],
      ...(volumes === "create" ? ["--cloudstack-disk-offering", "Custom Disk"] : []),
      ...[...cloudArgs, ...extra],
    ];
    return startCommand(withoutTargets(lab), command, vm, { extra: args }, env);
  };
  const owned = stack.move();
  return {
    ...{ lab, cloud, exporter, volumeOf },
    start,
    run: async (command, vm, options) => {
      const result = await start(command, vm, options).result;
      return { ...result, json: <T>() => JSON.parse(result.stdout) as T };
    },
    assertEqual: async (vm, volumes) => {
      for (const { record } of vm.disks) {
        const { imagePath, capacityBytes } = lab.frozenDisk(vm, record.key);
        const id = volumes?.get(record.key) ?? volumeOf(vm, record.key);
        const { equal, difference } = await compareFiles(
          ...([imagePath, cloud.volumeFile(id), capacityBytes] as const),
        );
        assert.ok(equal, `${vm.name} disk-${record.key}: ${difference}`);
      }
      assert.deepEqual(cloud.violations, []);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** The laboratory's own targets are left out: volumes take their place. */
function withoutTargets(lab: Lab): Lab {
  const flags = ["--nbd-targets", "--nbd-port", "--nbd-export-name"];
  return {
    ...lab,
    migrateArgs: (vm, options) => {
      const args = lab.migrateArgs(vm, options);
      const extra = options?.extra?.length ?? 0;
      const own = args.slice(0, args.length - extra);
      return [
        ...own.filter((arg, at) => !flags.includes(arg) && !flags.includes(own[at - 1] ?? "")),
        ...args.slice(own.length),
      ];
    },
  };
}
