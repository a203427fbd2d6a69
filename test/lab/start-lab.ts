// One whole laboratory: vCenter, the ESXi host's NFC port, VDDK, targets behind the tunnel, the VMA
// and OMA APIs and the poller, over one temporary folder. Everything is gone when it is disposed of.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type CloudStackLab,
  type CloudStackOptions,
  startCloudStack,
} from "./cloudstack/cloudstack.ts";
import { type Comparison, compareFiles } from "./compare.ts";
import { type OmaApiLab, type OmaApiOptions, startOmaApi } from "./oma-api.ts";
import { type PollerLab, startPoller } from "./poller.ts";
import { preferPort } from "./ports.ts";
import { guardFolder, releaseFolder } from "./process.ts";
import { type CliResult, startCli } from "./run-cli.ts";
import { type LabTargets, startTargets, type TargetKind } from "./targets-of-vms.ts";
import { type FrozenDisk, frozenCopies } from "./vcenter/frozen-copies.ts";
import type { LabVm } from "./vcenter/lab-vm.ts";
import { hardwareOf } from "./vcenter/records.ts";
import { startVcenter, type VcenterLab, type VcenterOptions } from "./vcenter/vcenter.ts";
import type { VmSpec } from "./vcenter/vm-spec.ts";
import { installVddk, type VddkLab } from "./vddk/install.ts";
import { type NfcListener, startNfcListener } from "./vddk/nfc-listener.ts";
import { startVmaApi, type VmaApiLab } from "./vma-api.ts";

export interface LabOptions {
  /** The machines; default: those of the simulator, small and of every kind. */
  vms?: VmSpec[];
  vcenter?: Omit<VcenterOptions, "labDir" | "vms" | "nfc">;
  /** [stunnel] */
  targets?: TargetKind;
  oma?: OmaApiOptions;
  /** Absent: there is no CloudStack. */
  cloudStack?: CloudStackOptions;
  pollIntervalMs?: number;
  /** Where the lab's folder is made. [the system's temporary folder] */
  parentDir?: string;
  /** Takes 10808, 8081 and 8082, where they are free, so that the defaults of migratekit fit. */
  wellKnownPorts?: boolean;
}

export interface MigrateOptions {
  /** Progress job; absent: none. */
  jobId?: string;
  /** `--nbd-targets` instead of `--nbd-export-name`. Always so with qemu-nbd. */
  explicitTargets?: boolean;
  /** Appended. */
  extra?: readonly string[];
}

export interface Lab extends AsyncDisposable {
  readonly dir: string;
  readonly vcenter: VcenterLab;
  readonly nfc: NfcListener;
  readonly vddk: VddkLab;
  readonly targets: LabTargets;
  readonly vma: VmaApiLab;
  readonly oma: OmaApiLab;
  readonly poller: PollerLab;
  readonly cloudStack: CloudStackLab | undefined;
  /** SQLite file of the poller. */
  readonly pollerDatabase: string;
  /** For `--vmware-password-file`. */
  readonly passwordFile: string;
  /** For `--state-dir`; kept from run to run, as on the appliance. */
  readonly stateDir: string;
  /** By name, inventory path or moref. */
  vm(wanted: string): LabVm;
  /** A further machine, with volumes and exports for its disks. */
  addVm(spec: VmSpec): Promise<LabVm>;
  /** A disk as the newest (or the given) snapshot of its machine froze it; it outlives the snapshot. */
  frozenDisk(vm: LabVm, key: number, snapshotMoref?: string): FrozenDisk;
  compareDisk(vm: LabVm, key: number, snapshotMoref?: string): Promise<Comparison>;
  /** Arguments of `migratekit` from `migrate` on; they need no environment. */
  migrateArgs(vm: LabVm, options?: MigrateOptions): string[];
  /** The same settings as variables, for the operators' short command line. */
  cliEnv(): Record<string, string>;
  /** Runs `migratekit migrate` from source to its end. */
  migrate(vm: LabVm, options?: MigrateOptions, env?: Record<string, string>): Promise<CliResult>;
  stop(): Promise<void>;
}

export async function startLab(options: LabOptions = {}): Promise<Lab> {
  await using stack = new AsyncDisposableStack();
  const dir = await makeLabDir(options, stack);
  const wish = (port: number) => (options.wellKnownPorts ? preferPort(port) : undefined);
  const nfc = stack.use(await startNfcListener());
  const vddk = await installVddk(dir);
  const vcenter = stack.use(
    await startVcenter({
      ...options.vcenter,
      ...(options.vms && { vms: options.vms }),
      labDir: dir,
      nfc: nfc.endpoint,
    }),
  );
  const { vms } = vcenter;
  const kind = options.targets ?? "stunnel";
  const nbdPort = await wish(10808);
  const targets = stack.use(
    await startTargets({ labDir: dir, kind, vms, ...(nbdPort && { port: nbdPort }) }),
  );
  const vma = stack.use(await startVmaApi(portOption(await wish(8081))));
  const oma = stack.use(await startOmaApi({ ...options.oma, ...portOption(await wish(8082)) }));
  const pollerDatabase = join(dir, "oma.sqlite");
  const poller = stack.use(
    await startPoller({
      vmaUrl: vma.url,
      databasePath: pollerDatabase,
      intervalMs: options.pollIntervalMs ?? 1000,
      discoverJobs: () => vma.jobs.keys(),
    }),
  );
  const cloudStack =
    options.cloudStack &&
    stack.use(await startCloudStack({ parentDir: dir, ...options.cloudStack }));
  cloudStack?.watchSources(() => runningMachines(vcenter));
  const passwordFile = join(dir, "password");
  await writeFile(passwordFile, `${vcenter.password}\n`, { mode: 0o600 });
  const apis = { vma, oma, poller, pollerDatabase, cloudStack };
  const parts = { dir, vcenter, nfc, vddk, targets, ...apis, passwordFile };
  return assemble(parts, stack.move());
}

function runningMachines({ vms }: VcenterLab) {
  return vms
    .filter(({ record }) => record.powerState === "poweredOn")
    .map(({ name, record }) => ({
      name,
      macs: hardwareOf(record).nics.map(({ mac }) => mac.toLowerCase()),
    }));
}

async function makeLabDir(options: LabOptions, stack: AsyncDisposableStack): Promise<string> {
  const dir = await mkdtemp(join(options.parentDir ?? tmpdir(), "migratekit-lab-"));
  guardFolder(dir);
  stack.defer(async () => {
    await rm(dir, { recursive: true, force: true });
    releaseFolder(dir);
  });
  return dir;
}

function portOption(port: number | undefined): { port?: number } {
  return port === undefined ? {} : { port };
}

type Parts = Omit<
  Lab,
  | ("stateDir" | "vm" | "addVm" | "frozenDisk" | "compareDisk" | "migrateArgs" | "cliEnv")
  | ("migrate" | "stop" | typeof Symbol.asyncDispose)
>;

function assemble(parts: Parts, stack: AsyncDisposableStack): Lab {
  const { dir, vcenter, targets, vddk, vma, oma } = parts;
  const stateDir = join(dir, "state");
  const settings: Settings = { parts, stateDir };
  const frozenDisk = (vm: LabVm, key: number, wanted?: string) => {
    const copies = frozenCopies(dir, vm.moref);
    const copy = copies.findLast(({ snapshot }) => wanted === undefined || wanted === snapshot);
    const disk = copy?.disks.find((candidate) => candidate.key === key);
    if (!disk) throw new Error(`no snapshot of disk ${key} of ${vm.name} was taken`);
    return disk;
  };
  const migrateArgs = (vm: LabVm, options?: MigrateOptions) => argumentsFor(settings, vm, options);
  let stopping: Promise<void> | undefined;
  const stop = () => {
    stopping ??= stack.disposeAsync();
    return stopping;
  };
  return {
    ...parts,
    stateDir,
    vm: (wanted) => vcenter.vm(wanted),
    addVm: async (spec) => {
      const vm = await vcenter.addVm(spec);
      await targets.addVm(vm);
      return vm;
    },
    frozenDisk,
    compareDisk: (vm, key, snapshotMoref) => {
      const target = targets.disksOf(vm).find((disk) => disk.key === key);
      if (!target) throw new Error(`${vm.name} has no target for disk ${key}`);
      const { imagePath, capacityBytes } = frozenDisk(vm, key, snapshotMoref);
      return compareFiles(imagePath, target.targetFile, capacityBytes);
    },
    migrateArgs,
    cliEnv: () => ({
      MIGRATEKIT_VDDK_PLUGIN: vddk.plugin,
      MIGRATEKIT_VDDK_LIBDIR: vddk.libdir,
      MIGRATEKIT_STATE_DIR: stateDir,
      MIGRATEKIT_VMA_URL: vma.url,
      MIGRATEKIT_VDDK_NFC_PORT: parts.nfc.endpoint.slice(parts.nfc.endpoint.lastIndexOf(":") + 1),
      CLOUDSTACK_API_URL: oma.url,
      ...(targets.port > 0 && { NBD_LOCAL_PORT: String(targets.port) }),
    }),
    migrate: (vm, options, env = {}) =>
      startCli({ args: migrateArgs(vm, options), env: { CLOUDSTACK_API_URL: oma.url, ...env } })
        .result,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

interface Settings {
  parts: Parts;
  stateDir: string;
}

function argumentsFor(
  { parts, stateDir }: Settings,
  vm: LabVm,
  { jobId, explicitTargets, extra = [] }: MigrateOptions = {},
): string[] {
  const { vcenter, targets, vddk, vma, passwordFile } = parts;
  const explicit = explicitTargets || targets.port === 0;
  const target = explicit
    ? [
        "--nbd-targets",
        targets
          .disksOf(vm)
          .map((d) => `${d.key}:${d.exportUri}`)
          .join(","),
      ]
    : ["--nbd-port", String(targets.port), "--nbd-export-name", targets.exportTemplate(vm)];
  return [
    ...["migrate", "--vmware-endpoint", vcenter.endpoint, "--vmware-username", vcenter.username],
    ...["--vmware-password-file", passwordFile, "--vmware-path", vm.path],
    ...["--vmware-thumbprint", vcenter.thumbprintSha1, ...target],
    ...["--vddk-plugin", vddk.plugin, "--vddk-libdir", vddk.libdir],
    ...["--state-dir", stateDir, "--vma-url", vma.url],
    // All is on this machine: nothing of a killed run is under way for long.
    ...["--target-drop-time", "0s"],
    ...(jobId === undefined ? [] : ["--job-id", jobId]),
    ...extra,
  ];
}
