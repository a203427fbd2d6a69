/**
 * Every setting of every command, once: flags, variables, configuration fields, help, completions
 * and the manual page are all made from this table.
 */
import type { Parser } from "./option-types.ts";
import * as type from "./option-types.ts";
import { Secret } from "./secret.ts";

export const commandNames = [
  "migrate",
  "check",
  "inventory",
  "verify",
  "cutover",
  "rehearse",
  "convert",
  "rollback",
  "export",
  "cleanup",
  "list",
  "status",
  "history",
  "config",
  "completion",
  "fleet init",
  "fleet plan",
  "fleet apply",
  "fleet work",
  "fleet status",
  "fleet pause",
  "fleet resume",
  "fleet retry",
  "fleet cutover",
  "fleet report",
  "fleet check-target",
] as const;
/** As typed; of a command of a group the group's name comes first. */
export type CommandName = (typeof commandNames)[number];

export const groups = {
  vsphere: "vSphere",
  target: "Target",
  cloudstack: "CloudStack",
  export: "Exports",
  run: "Run",
  list: "Several VMs",
  fleet: "Fleet",
  forecast: "Forecast",
  guest: "Guest",
  copy: "Copy",
  vddk: "nbdkit and VDDK",
  report: "Reporting",
  general: "General",
} as const;

export interface OptionSpec<T = unknown> {
  readonly group: keyof typeof groups;
  /** Name of the value in the help; absent for a switch. */
  readonly value?: string;
  readonly describe: string;
  readonly commands: readonly CommandName[];
  readonly parse: Parser<T>;
  /** Text that stands in for a value not given; shown in the help. */
  readonly fallback?: string;
  /** Shown in the help where the default is worked out at run time. */
  readonly fallbackNote?: string;
  /** Variables that are read besides `MIGRATEKIT_<NAME>`, first one first. */
  readonly variables?: readonly string[];
  /** Set where `MIGRATEKIT_<NAME>` means something else. */
  readonly noOwnVariable?: true;
  /** Set where a `--no-…` form exists. */
  readonly negatable?: true;
  /** Help of the `--no-…` form, where that of a switch would not do. */
  readonly describeOff?: string;
  /** A setting without a flag: variable and configuration field only. */
  readonly noFlag?: true;
  /** Given more than once, the values make one list, with commas between. */
  readonly repeatable?: true;
  /** One letter, for people who type. */
  readonly short?: string;
}

const connected = ["migrate", "check", "verify", "cutover", "cleanup"] as const;
const copying = ["migrate", "check", "verify", "cutover", "fleet work"] as const;
const syncing = ["migrate", "check", "cutover"] as const;
/** Those that may log in at vSphere; a rollback does for what a machine in CloudStack has written. */
const signedIn = [...connected, "inventory", "rollback", "fleet work"] as const;
/** Those that may read disks of the source. */
const reading = [...copying, "rollback"] as const;
/** Those that may speak to CloudStack's API. */
const clouded = [...copying, "rehearse", "rollback", "export"] as const;
/** Those that make an instance, or look whether one could be made. */
const deploying = ["check", "cutover", "rehearse"] as const;
/** Those that work on the targets alone. */
const converting = ["rehearse", "convert", "rollback"] as const;
/** Those that are about VMs that are known or named. */
const ofVms = [...connected, ...converting, "list", "status", "history", "config"] as const;
/** Those that speak TLS to targets. */
const toTargets = [...copying, ...converting, "fleet check-target"] as const;
/** Those of the fleet. */
const ofFleet = commandNames.filter((name) => name.startsWith("fleet "));
/** Those that tell the fleet what to do with VMs of its plan. */
const directing = ["fleet pause", "fleet resume", "fleet retry", "fleet cutover"] as const;
/** Those that speak to the fleet's database. */
const inDatabase = [
  "fleet plan",
  "fleet init",
  "fleet apply",
  "fleet status",
  "fleet report",
  "fleet work",
  ...directing,
] as const;
/** Those that have settings at all. */
const settled = [...ofVms, "inventory", "export", ...ofFleet] as const;

function define<T>(spec: OptionSpec<T>): OptionSpec<T> & { readonly optional: true };
function define<T>(spec: OptionSpec<T>, presence: "defaulted"): OptionSpec<T>;
function define<T>(spec: OptionSpec<T>): OptionSpec<T> {
  return spec;
}

export const options = {
  "vmware-endpoint": define({
    group: "vsphere",
    value: "HOST[:PORT]",
    describe: "vCenter or ESXi host",
    commands: [...ofVms, "inventory"],
    parse: type.endpoint,
  }),
  "vmware-username": define({
    group: "vsphere",
    value: "USER",
    describe: "account, such as admin@vsphere.local",
    commands: signedIn,
    parse: type.text,
  }),
  "vmware-password": define({
    group: "vsphere",
    value: "PASSWORD",
    describe: "its password (seen by everybody in the process list: prefer the file)",
    commands: signedIn,
    parse: (value: string) => new Secret(type.text(value)),
  }),
  "vmware-password-file": define({
    group: "vsphere",
    value: "FILE",
    describe: "file whose first line is the password; - reads stdin",
    commands: signedIn,
    parse: type.text,
  }),
  "vmware-path": define({
    group: "vsphere",
    value: "PATH",
    describe: "the VM, as /Datacenter/vm/Folder/VM",
    commands: ofVms,
    parse: type.inventoryPath,
  }),
  "vmware-thumbprint": define({
    group: "vsphere",
    value: "HEX",
    describe: "trust only this certificate (SHA-1 or SHA-256)",
    commands: signedIn,
    parse: type.text,
  }),
  "vmware-ca-file": define({
    group: "vsphere",
    value: "FILE",
    describe: "trust certificates of this CA (PEM)",
    commands: signedIn,
    parse: type.text,
  }),
  "vmware-insecure": define(
    {
      group: "vsphere",
      describe: "accept any certificate: nothing protects the password then",
      commands: signedIn,
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),

  "nbd-host": define(
    {
      group: "target",
      value: "HOST",
      describe: "NBD server of the CloudStack side",
      commands: copying,
      parse: type.text,
      fallback: "127.0.0.1",
    },
    "defaulted",
  ),
  "nbd-port": define(
    {
      group: "target",
      value: "PORT",
      describe: "its port",
      commands: copying,
      parse: type.integer(1, 65535),
      fallback: "10808",
      variables: ["NBD_LOCAL_PORT"],
    },
    "defaulted",
  ),
  "nbd-export-name": define(
    {
      group: "target",
      value: "NAME",
      describe: "export of the volume; {key} and {index} stand for the disk's",
      commands: copying,
      parse: type.text,
      fallback: "migration",
    },
    "defaulted",
  ),
  "nbd-targets": define({
    group: "target",
    value: "LIST",
    describe: "one URI for each disk: 2000:nbd://host:port/export,2001:…",
    commands: [...copying, ...converting],
    parse: type.text,
  }),
  "nbd-tls-ca-file": define({
    group: "target",
    value: "FILE",
    describe: "CA of nbds:// targets (PEM); absent: the system's",
    commands: toTargets,
    parse: type.text,
  }),
  "nbd-tls-certificates": define({
    group: "target",
    value: "DIR",
    describe: "directory with client-cert.pem and client-key.pem for nbds://",
    commands: toTargets,
    parse: type.text,
  }),
  "nbd-tls-psk-file": define({
    group: "target",
    value: "FILE",
    describe: "pre-shared keys for nbds://",
    commands: toTargets,
    parse: type.text,
  }),
  "target-is-zero": define(
    {
      group: "target",
      describe: "the targets hold only zeroes (fresh volumes): do not write any",
      commands: syncing,
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  "accept-no-flush": define(
    {
      group: "target",
      describe: "write to targets without flush: a power cut there may undo what is called done",
      commands: [...copying, "rehearse", "convert"],
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  "on-target-mismatch": define(
    {
      group: "target",
      value: "WHAT",
      describe: "when a target is not what the last run left: fail, or full (copy over it)",
      commands: syncing,
      parse: type.oneOf("fail", "full"),
      fallback: "fail",
    },
    "defaulted",
  ),
  "target-drop-time": define(
    {
      group: "target",
      value: "TIME",
      describe: "how late writes of an interrupted run may arrive: waited for, then looked at",
      commands: [...copying, ...converting],
      parse: type.duration,
      fallback: "130s",
    },
    "defaulted",
  ),

  "take-over-target": define(
    {
      group: "target",
      describe: "write to targets that belong to other disks, which lose what is there",
      commands: syncing,
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),

  "cloudstack-endpoint": define({
    group: "cloudstack",
    value: "URL",
    describe: "CloudStack's API, such as https://cloud.example.com/client/api",
    commands: clouded,
    parse: type.cloudStackUrl,
  }),
  "cloudstack-api-key": define({
    group: "cloudstack",
    value: "KEY",
    describe: "API key of the account that owns the volumes",
    commands: clouded,
    parse: (value: string) => new Secret(type.text(value)),
  }),
  "cloudstack-secret-key": define({
    group: "cloudstack",
    value: "KEY",
    describe: "its secret key (seen by everybody in the process list: prefer the file)",
    commands: clouded,
    parse: (value: string) => new Secret(type.text(value)),
  }),
  "cloudstack-secret-key-file": define({
    group: "cloudstack",
    value: "FILE",
    describe: "file whose first line is the secret key; - reads stdin",
    commands: clouded,
    parse: type.text,
  }),
  "cloudstack-ca-file": define({
    group: "cloudstack",
    value: "FILE",
    describe: "trust certificates of this CA (PEM) at the API",
    commands: clouded,
    parse: type.text,
  }),
  "cloudstack-insecure": define(
    {
      group: "cloudstack",
      describe: "accept any certificate of the API: nothing protects the account then",
      commands: clouded,
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  "cloudstack-zone": define({
    group: "cloudstack",
    value: "ZONE",
    describe: "name or id of the zone, where there are several",
    commands: clouded,
    parse: type.text,
  }),
  "cloudstack-domain": define({
    group: "cloudstack",
    value: "DOMAIN",
    describe: "id or path of the domain of --cloudstack-account",
    commands: clouded,
    parse: type.text,
  }),
  "cloudstack-account": define({
    group: "cloudstack",
    value: "ACCOUNT",
    describe: "account that volumes and instances belong to, where it is not the key's own",
    commands: clouded,
    parse: type.text,
  }),
  "cloudstack-project": define({
    group: "cloudstack",
    value: "PROJECT",
    describe: "name or id of the project that they belong to instead",
    commands: clouded,
    parse: type.text,
  }),
  "cloudstack-volumes": define({
    group: "cloudstack",
    value: "LIST",
    describe:
      "the targets are CloudStack volumes: create one for each disk, or take 2000:ID,2001:ID",
    commands: copying,
    parse: type.cloudStackVolumes,
  }),
  "cloudstack-disk-offering": define({
    group: "cloudstack",
    value: "OFFERING",
    describe: "name or id of the disk offering of volumes that are created",
    commands: copying,
    parse: type.text,
  }),
  "cloudstack-appliance": define(
    {
      group: "cloudstack",
      value: "auto|ID",
      describe: "instance that the volumes are attached to and exported from; auto: this machine",
      commands: clouded,
      parse: type.autoOrUuid,
      fallback: "auto",
    },
    "defaulted",
  ),
  deploy: define(
    {
      group: "cloudstack",
      describe:
        "make the VM an instance of CloudStack and start it; check: look whether it could be",
      commands: ["check", "cutover"],
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  cloudstack: define(
    {
      group: "cloudstack",
      describe: "rehearse in CloudStack itself, on clones of the volumes in an isolated network",
      commands: ["rehearse"],
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  "cloudstack-offering": define({
    group: "cloudstack",
    value: "OFFERING",
    describe: "name or id of the compute offering of the instance",
    commands: deploying,
    parse: type.text,
  }),
  "cloudstack-template": define({
    group: "cloudstack",
    value: "TEMPLATE",
    describe: "name or id of any small template or ISO; its root disk is thrown away",
    commands: deploying,
    parse: type.text,
  }),
  "cloudstack-name": define({
    group: "cloudstack",
    value: "NAME",
    describe: "host name of the instance",
    commands: deploying,
    parse: type.hostLabel,
    fallbackNote: "made from the VM's name and its instance UUID",
  }),
  network: define({
    group: "cloudstack",
    value: "GROUP=NETWORK",
    describe:
      "network of a port group's cards: GROUP=NETWORK[,ip=keep|auto|A.B.C.D]; may be given again",
    commands: deploying,
    parse: type.networkMappings,
    repeatable: true,
  }),
  alive: define(
    {
      group: "cloudstack",
      value: "PROBE",
      describe: "what shows that it lives: state, tcp:PORT, tcp:HOST:PORT or arp",
      commands: ["cutover", "rehearse"],
      parse: type.aliveProbe,
      fallback: "state",
    },
    "defaulted",
  ),
  "alive-timeout": define(
    {
      group: "cloudstack",
      value: "TIME",
      describe: "how long it may take until it is seen alive",
      commands: ["cutover", "rehearse"],
      parse: type.duration,
      fallback: "10m",
    },
    "defaulted",
  ),
  "keep-new": define({
    group: "cloudstack",
    value: "NAME",
    describe: "keep copies of the new machine's volumes, whose names begin so",
    commands: ["rollback"],
    parse: type.text,
  }),
  for: define({
    group: "cloudstack",
    value: "TIME",
    describe: "remove the rehearsal in CloudStack after this time",
    commands: ["rehearse"],
    parse: type.duration,
  }),
  end: define(
    {
      group: "cloudstack",
      describe: "remove a rehearsal in CloudStack that is still there",
      commands: ["rehearse"],
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),

  listen: define(
    {
      group: "export",
      value: "ADDRESS:PORT",
      describe: "where the NBD server listens; beyond this machine only with certificates",
      commands: ["export"],
      parse: type.listenAddress,
      fallback: "127.0.0.1:10809",
    },
    "defaulted",
  ),
  "listen-tls-certificates": define({
    group: "export",
    value: "DIR",
    describe:
      "with ca-cert.pem, server-cert.pem and server-key.pem: TLS, only for clients that this CA knows",
    commands: ["export"],
    parse: type.text,
  }),
  "export-volumes": define({
    group: "export",
    value: "IDS",
    describe: "export these volumes alone, without asking CloudStack; with commas between",
    commands: ["export"],
    parse: type.uuids,
    repeatable: true,
    fallbackNote: "those at this instance that migratekit marked",
  }),
  "device-dir": define(
    {
      group: "export",
      value: "DIR",
      describe: "where disks are found by their serial",
      commands: ["export"],
      parse: type.text,
      fallback: "/dev/disk/by-id",
    },
    "defaulted",
  ),

  reopen: define(
    {
      group: "run",
      describe: "copy a VM again that was cut over: what its volumes got since is lost",
      commands: copying,
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  full: define(
    {
      group: "run",
      describe: "copy everything, whatever is known of earlier runs",
      commands: syncing,
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  "import-change-ids": define({
    group: "run",
    value: "LIST",
    describe: "change IDs that another program kept, for disks not known here: 2000:52 de …/7",
    commands: ["migrate"],
    parse: type.changeIds,
  }),
  "quiesce-snapshot": define(
    {
      group: "run",
      describe: "let VMware Tools bring file systems to rest for the snapshot",
      commands: [...copying, "inventory"],
      parse: type.flag,
      fallback: "true",
      negatable: true,
    },
    "defaulted",
  ),
  "allow-tracking-over-snapshots": define(
    {
      group: "run",
      describe:
        "turn changed block tracking on although the VM has snapshots: changes may be missed",
      commands: [...syncing, "inventory"],
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  "datastore-floor": define(
    {
      group: "run",
      value: "SIZE",
      describe: "free space on the VM's datastores below which a run ends, 0: never",
      commands: [...copying, "inventory"],
      parse: type.size,
      fallback: "1G",
    },
    "defaulted",
  ),
  "skip-disks": define({
    group: "run",
    value: "KEYS",
    describe: "disks to leave out, by device key: 2001,2002",
    commands: copying,
    parse: type.deviceKeys,
  }),
  verify: define(
    {
      group: "run",
      describe: "compare targets and snapshot after the (last) copy",
      commands: ["migrate", "cutover"],
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  sample: define(
    {
      group: "run",
      describe: "compare a random sample of each disk instead of all of it",
      commands: ["verify"],
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  repair: define(
    {
      group: "run",
      describe: "copy the ranges that differ from the snapshot to the target",
      commands: ["verify"],
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  "max-downtime": define(
    {
      group: "run",
      value: "TIME",
      describe: "shut the guest down once the last sync is expected to take no longer",
      commands: ["cutover"],
      parse: type.duration,
      fallback: "5m",
    },
    "defaulted",
  ),
  "max-passes": define(
    {
      group: "run",
      value: "N",
      describe: "syncs of the running VM before giving up on --max-downtime",
      commands: ["cutover"],
      parse: type.integer(1, 100),
      fallback: "5",
    },
    "defaulted",
  ),
  "busy-timeout": define(
    {
      group: "run",
      value: "TIME",
      describe: "how long another task on the VM, or a host that is away, is waited for",
      commands: ["migrate", "verify", "cutover", "cleanup", "rollback"],
      parse: type.duration,
      fallback: "10m",
    },
    "defaulted",
  ),
  "shutdown-timeout": define(
    {
      group: "run",
      value: "TIME",
      describe: "how long the guest may take to shut down",
      commands: ["cutover"],
      parse: type.duration,
      fallback: "5m",
    },
    "defaulted",
  ),
  "force-power-off": define(
    {
      group: "run",
      describe: "power the VM off hard if the guest is not down by then: it may lose data",
      commands: ["cutover"],
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  yes: define(
    {
      group: "run",
      describe: "do not ask for confirmation (needed where there is no terminal)",
      commands: ["cutover", "cleanup"],
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  "dry-run": define(
    {
      group: "run",
      describe: "only list what would be removed",
      commands: ["cleanup"],
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  all: define(
    {
      group: "run",
      describe: "every VM: that the state directory knows of the endpoint, or of the fleet",
      commands: ["cleanup", ...directing, "fleet status"],
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  foreign: define({
    group: "run",
    value: "RUN-ID",
    describe:
      "also remove the snapshot of a run that this state directory does not know, once it is dead for certain; all: of every such run",
    commands: ["cleanup"],
    parse: type.text,
  }),
  "discard-journals": define(
    {
      group: "run",
      describe: "also forget interrupted copies: the next run begins them anew",
      commands: ["cleanup"],
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),

  vms: define({
    group: "list",
    value: "FILE",
    describe: "migrate every VM of this YAML file: defaults: and vms:, any setting in both",
    commands: ["migrate"],
    parse: type.text,
  }),
  "parallel-vms": define(
    {
      group: "list",
      value: "N",
      describe: "VMs migrated at the same time",
      commands: ["migrate", "fleet plan", "fleet work"],
      parse: type.integer(1, 64),
      fallback: "1",
    },
    "defaulted",
  ),
  plan: define({
    group: "list",
    value: "FILE",
    describe: "write a list for migrate --vms to this file: each VM that nothing blocks",
    commands: ["inventory"],
    parse: type.text,
  }),
  "plan-target": define({
    group: "list",
    value: "URI",
    describe:
      "targets in the list, as nbd://host:10809/{vm}-disk-{key}; also {index}, {moref}, {uuid}",
    commands: ["inventory"],
    parse: type.planTarget,
    fallbackNote: "to be filled in by hand",
  }),
  "replace-plan": define(
    {
      group: "list",
      describe: "replace the file of --plan where there is one",
      commands: ["inventory"],
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  "host-connections": define(
    {
      group: "list",
      value: "N",
      describe: "disk connections to one ESXi host, of all VMs together",
      commands: ["migrate", "cutover"],
      parse: type.integer(1, 52),
      fallback: "24",
    },
    "defaulted",
  ),

  workers: define(
    {
      group: "forecast",
      value: "N",
      describe: "appliances that work for the fleet, each with --parallel-vms",
      commands: ["fleet plan"],
      parse: type.integer(1, 1000),
      fallback: "1",
    },
    "defaulted",
  ),
  "link-rate": define({
    group: "forecast",
    value: "RATE",
    describe: "what the link to the targets carries, of all VMs together, bytes/s with K, M or G",
    commands: ["fleet plan"],
    parse: type.rate,
    fallbackNote: "as much as they ask for",
  }),
  inventory: define({
    group: "forecast",
    value: "FILE",
    describe:
      "hosts, datastores and sizes, as inventory --json wrote them; one of each vCenter: may be given again",
    commands: ["fleet plan"],
    parse: type.files,
    repeatable: true,
  }),
  start: define({
    group: "forecast",
    value: "TIME",
    describe: "when the plan would be applied, such as 2026-12-01T20:00Z",
    commands: ["fleet plan"],
    parse: type.instant,
    fallbackNote: "now",
  }),
  "assume-rate": define(
    {
      group: "forecast",
      value: "RATE",
      describe: "of a VM's full copy, where none was measured of any VM",
      commands: ["fleet plan"],
      parse: type.rate,
      fallback: "50M",
    },
    "defaulted",
  ),
  "assume-size": define(
    {
      group: "forecast",
      value: "SIZE",
      describe: "what a VM has to be copied first, where that is not known",
      commands: ["fleet plan"],
      parse: type.size,
      fallback: "100G",
    },
    "defaulted",
  ),
  "assume-change": define(
    {
      group: "forecast",
      value: "PERCENT",
      describe: "how much of that changes in a day, where no syncs measured it",
      commands: ["fleet plan"],
      parse: type.percent,
      fallback: "5",
    },
    "defaulted",
  ),
  "assume-downtime": define(
    {
      group: "forecast",
      value: "TIME",
      describe:
        "of a cutover besides its syncs, where neither a rehearsal nor the fleet measured it",
      commands: ["fleet plan"],
      parse: type.duration,
      fallback: "10m",
    },
    "defaulted",
  ),

  disk: define({
    group: "guest",
    value: "URI",
    describe: "a target that no run here has synced, the boot disk first; may be given again",
    commands: converting,
    parse: type.uris,
    repeatable: true,
  }),
  firmware: define({
    group: "guest",
    value: "KIND",
    describe: "of the machine: bios or uefi; absent: as vSphere had it",
    commands: ["rehearse", "convert"],
    parse: type.oneOf("bios", "uefi"),
  }),
  mac: define({
    group: "guest",
    value: "MAC[=ADDRESS]",
    describe: "a network card, with its static address; may be given again",
    commands: ["rehearse", "convert"],
    parse: type.networkCards,
    repeatable: true,
  }),
  convert: define(
    {
      group: "guest",
      describe:
        "cutover: convert the guest after the last sync; check: look for what that needs on this machine; inventory: whether there is a conversion for the guest",
      commands: ["check", "inventory", "cutover"],
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  "power-on-source": define(
    {
      group: "cloudstack",
      describe:
        "turn the VM at VMware on again, once nothing runs in CloudStack; cutover: where it fails",
      commands: ["cutover", "rollback"],
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  "virtio-win": define({
    group: "guest",
    value: "FILE|DIR",
    describe: "drivers for Windows: virtio-win's ISO, or a folder with what is on it",
    commands: ["rehearse", "convert", "check", "cutover"],
    parse: type.text,
    fallbackNote: "virt-v2v's own place",
  }),
  "guest-root": define(
    {
      group: "guest",
      value: "single|first|DEVICE",
      describe: "which operating system of several on the disks is converted, by its root",
      commands: ["rehearse", "convert", "cutover"],
      parse: type.guestRoot,
      fallback: "single",
    },
    "defaulted",
  ),
  "luks-key": define({
    group: "guest",
    value: "[UUID=]FILE",
    describe:
      "file whose only line opens the guest's LUKS, or the one of that UUID; may be given again",
    commands: ["rehearse", "convert", "cutover"],
    parse: type.luksKeys,
    repeatable: true,
  }),
  "convert-timeout": define(
    {
      group: "guest",
      value: "TIME",
      describe: "how long a conversion may take",
      commands: ["rehearse", "convert", "cutover"],
      parse: type.duration,
      fallback: "1h",
    },
    "defaulted",
  ),
  "overlay-max": define(
    {
      group: "guest",
      value: "SIZE",
      describe: "how much room a conversion may take for what it changes, before it is applied",
      commands: ["rehearse", "convert", "cutover"],
      parse: type.size,
      fallback: "32G",
    },
    "defaulted",
  ),
  boot: define(
    {
      group: "guest",
      describe: "start the converted guest too, on the hardware that it will have, and watch it",
      commands: ["rehearse"],
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  "boot-timeout": define(
    {
      group: "guest",
      value: "TIME",
      describe: "how long it may take until it is seen to be up",
      commands: ["rehearse"],
      parse: type.duration,
      fallback: "10m",
    },
    "defaulted",
  ),
  screenshot: define({
    group: "guest",
    value: "FILE",
    describe: "keep a picture of its screen, a PNG (with --boot)",
    commands: ["rehearse"],
    parse: type.text,
  }),
  "accept-look": define(
    {
      group: "guest",
      describe: "apply the conversion too where it may boot and only a person or a boot can tell",
      commands: ["convert", "cutover"],
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  "keep-old": define({
    group: "guest",
    value: "DIR",
    describe: "where what the conversion changes is kept for the way back",
    commands: ["convert", "cutover"],
    parse: type.text,
    fallbackNote: "old-bytes in the state directory",
  }),
  "keep-old-max": define(
    {
      group: "guest",
      value: "SIZE",
      describe: "how much of it is kept at most; a conversion that changes more is not applied",
      commands: ["convert", "cutover"],
      parse: type.size,
      fallback: "16G",
    },
    "defaulted",
  ),

  "compression-method": define(
    {
      group: "copy",
      value: "METHOD",
      describe: "of VDDK: none, zlib, fastlz or skipz",
      commands: reading,
      parse: type.oneOf("none", "zlib", "fastlz", "skipz"),
      fallback: "none",
    },
    "defaulted",
  ),
  "source-connections": define({
    group: "copy",
    value: "N",
    describe: "connections to each disk's source",
    commands: copying,
    parse: type.integerOrAuto(1, 8),
    fallbackNote: "auto",
  }),
  "target-connections": define({
    group: "copy",
    value: "N",
    describe: "connections to each target",
    commands: [...copying, ...converting],
    parse: type.integerOrAuto(1, 8),
    fallbackNote: "auto",
  }),
  "parallel-disks": define(
    {
      group: "copy",
      value: "N",
      describe: "disks copied at the same time",
      commands: copying,
      parse: type.integer(1, 16),
      fallback: "2",
    },
    "defaulted",
  ),
  "max-rate": define({
    group: "copy",
    value: "RATE",
    describe:
      'limit of all disks together, bytes/s with K, M or G; or by local time: "08:00,50M 19:00,off"',
    commands: [...copying, ...converting],
    parse: type.ratePlan,
  }),
  memory: define(
    {
      group: "copy",
      value: "SIZE",
      describe:
        "the most that all disks together have in memory on the way; used only where it helps",
      commands: [...copying, ...converting],
      parse: type.copyMemory,
      fallback: "256M",
    },
    "defaulted",
  ),
  "stall-timeout": define(
    {
      group: "copy",
      value: "TIME",
      describe:
        "how long a server may leave a request unanswered before the connection counts as lost",
      commands: [...copying, ...converting],
      parse: type.patience,
      fallback: "60s",
    },
    "defaulted",
  ),
  "flush-timeout": define(
    {
      group: "copy",
      value: "TIME",
      describe: "the same for a flush of the target, and for all beside it",
      commands: [...copying, ...converting],
      parse: type.patience,
      fallback: "10m",
    },
    "defaulted",
  ),

  nbdkit: define(
    {
      group: "vddk",
      value: "PROGRAM",
      describe: "nbdkit program",
      commands: reading,
      parse: type.text,
      fallback: "nbdkit",
    },
    "defaulted",
  ),
  "vddk-plugin": define(
    {
      group: "vddk",
      value: "PLUGIN",
      describe: "name or path of nbdkit's VDDK plugin",
      commands: reading,
      parse: type.text,
      fallback: "vddk",
    },
    "defaulted",
  ),
  "vddk-libdir": define({
    group: "vddk",
    value: "DIR",
    describe: "where VMware's VDDK is unpacked",
    commands: reading,
    parse: type.text,
    fallbackNote: "the first that exists of the usual places",
  }),
  "vddk-config": define({
    group: "vddk",
    value: "FILE",
    describe: "VDDK configuration file",
    commands: reading,
    parse: type.text,
  }),
  "vddk-nfc-port": define(
    {
      group: "vddk",
      value: "PORT",
      describe: "port of the ESXi host's NFC service",
      commands: reading,
      parse: type.integer(1, 65535),
      fallback: "902",
    },
    "defaulted",
  ),
  "vddk-transports": define(
    {
      group: "vddk",
      value: "LIST",
      describe: "transport modes in order of preference",
      commands: reading,
      parse: type.text,
      fallback: "file:nbdssl:nbd",
    },
    "defaulted",
  ),

  "job-id": define({
    group: "report",
    value: "ID",
    describe: "report progress to the VMA API under this job",
    commands: ["migrate", "check", "verify", "cutover"],
    parse: type.text,
    variables: ["MIGRATEKIT_PROGRESS_JOB_ID"],
    noOwnVariable: true,
  }),
  "vma-url": define(
    {
      group: "report",
      value: "URL",
      describe: "VMA progress API",
      commands: ["migrate", "check", "verify", "cutover", "status"],
      parse: type.httpUrl,
      fallback: "http://localhost:8081",
    },
    "defaulted",
  ),
  "change-id-job": define({
    group: "report",
    value: "ID",
    describe: "job under which the OMA API keeps change IDs",
    commands: copying,
    parse: type.text,
    variables: ["MIGRATEKIT_JOB_ID"],
    noOwnVariable: true,
    noFlag: true,
  }),
  "cloudstack-api-url": define(
    {
      group: "report",
      value: "URL",
      describe: "OMA API",
      commands: copying,
      parse: type.httpUrl,
      fallback: "http://localhost:8082",
      variables: ["CLOUDSTACK_API_URL"],
      noFlag: true,
    },
    "defaulted",
  ),
  json: define(
    {
      group: "report",
      describe: "one JSON document on stdout; logs go to stderr",
      commands: settled,
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  csv: define(
    {
      group: "report",
      describe: "one line of CSV for each VM on stdout, under a line of headings",
      commands: ["inventory"],
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  progress: define(
    {
      group: "report",
      value: "FORM",
      describe:
        "auto (bars where stderr is a terminal), lines (in the log), or json: one object a line on stderr, json:3 on descriptor 3",
      commands: ["migrate", "verify", "cutover", ...converting],
      parse: type.progressForm,
      fallback: "auto",
      negatable: true,
      describeOff: "as --progress lines",
    },
    "defaulted",
  ),
  "log-format": define(
    {
      group: "report",
      value: "FORMAT",
      describe: "auto, pretty or json; auto: pretty on a terminal, JSON elsewhere",
      commands: settled,
      parse: type.oneOf("auto", "pretty", "json"),
      fallback: "auto",
    },
    "defaulted",
  ),
  color: define(
    {
      group: "report",
      value: "WHEN",
      describe: "auto: on a terminal that can and without NO_COLOR",
      commands: settled,
      parse: type.oneOf("auto", "always", "never"),
      fallback: "auto",
    },
    "defaulted",
  ),
  quiet: define(
    {
      group: "report",
      short: "q",
      describe: "log only warnings and errors, show no progress",
      commands: settled,
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  verbose: define(
    {
      group: "report",
      short: "v",
      describe: "log every step",
      commands: settled,
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  "fleet-database": define({
    group: "fleet",
    value: "URL",
    describe: "the fleet's PostgreSQL: postgres://USER@HOST:PORT/NAME",
    commands: inDatabase,
    parse: type.text,
  }),
  "fleet-database-password-file": define({
    group: "fleet",
    value: "FILE",
    describe: "file whose first line is the password of its user",
    commands: inDatabase,
    parse: type.text,
  }),
  "worker-name": define({
    group: "fleet",
    value: "NAME",
    describe: "of this worker in the fleet; each has its own",
    commands: ["fleet work"],
    parse: type.text,
    fallbackNote: "the host's name",
  }),
  label: define({
    group: "fleet",
    value: "KEY=VALUE",
    describe: "what this worker has that VMs of the plan may ask for; may be given again",
    commands: ["fleet work"],
    parse: type.labels,
    repeatable: true,
  }),
  wave: define({
    group: "fleet",
    value: "NAME",
    describe: "VMs of this wave; may be given again",
    commands: [...directing, "fleet status"],
    parse: type.names,
    repeatable: true,
  }),
  vm: define({
    group: "fleet",
    value: "NAME",
    describe: "this VM, by its name in the plan; may be given again",
    commands: [...directing, "fleet status"],
    parse: type.names,
    repeatable: true,
  }),
  "worker-role": define({
    group: "fleet",
    value: "ROLE",
    describe: "a role of PostgreSQL that may work for the fleet from now on, and no more",
    commands: ["fleet init"],
    parse: type.text,
  }),
  "lease-time": define({
    group: "fleet",
    value: "TIME",
    describe: "how long a worker may be silent before its VMs are not its own any more",
    commands: ["fleet init"],
    parse: type.patience,
    fallbackNote: "as it is; 120s at first",
  }),
  "takeover-grace": define({
    group: "fleet",
    value: "TIME",
    describe:
      "how long nobody takes over after that; longer where targets let go of a connection later",
    commands: ["fleet init"],
    parse: type.patience,
    fallbackNote: "as it is; 60s at first",
  }),
  restored: define(
    {
      group: "fleet",
      describe:
        "the database was restored from a backup: what was given out since then is not believed",
      commands: ["fleet init"],
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  takeover: define(
    {
      group: "fleet",
      describe:
        "also your word that what dead workers held can be taken over: nothing of them writes any more",
      commands: ["fleet resume"],
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  cancel: define(
    {
      group: "fleet",
      describe: "take back what was asked for, where it has not begun",
      commands: ["fleet cutover"],
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  "give-up-after": define(
    {
      group: "fleet",
      value: "TIME",
      describe: "how long a target that does not let go is waited for",
      commands: ["fleet check-target"],
      parse: type.patience,
      fallback: "20m",
    },
    "defaulted",
  ),
  html: define({
    group: "report",
    value: "FILE",
    describe: "write the report here: one page that needs nothing from elsewhere",
    commands: ["fleet report"],
    parse: type.text,
  }),
  title: define(
    {
      group: "report",
      value: "TEXT",
      describe: "what stands above the report",
      commands: ["fleet report"],
      parse: type.text,
      fallback: "Migration to CloudStack",
    },
    "defaulted",
  ),
  report: define({
    group: "report",
    value: "FILE",
    describe: "write what was moved, when, verified and how to go back: FILE.html or FILE.txt",
    commands: ["cutover"],
    parse: type.text,
  }),
  "hook-before": define({
    group: "report",
    value: "PROGRAM",
    describe: "run this first, with the run as JSON on stdin; where it fails nothing is begun",
    commands: ["migrate", "verify", "cutover", "fleet work"],
    parse: type.text,
  }),
  "hook-after": define({
    group: "report",
    value: "PROGRAM",
    describe:
      "run this at the end, whatever the ending, with the run and its ending as JSON on stdin",
    commands: ["migrate", "verify", "cutover", "fleet work"],
    parse: type.text,
  }),
  "hook-timeout": define(
    {
      group: "report",
      value: "TIME",
      describe: "how long a hook may take",
      commands: ["migrate", "verify", "cutover"],
      parse: type.patience,
      fallback: "1m",
    },
    "defaulted",
  ),
  webhook: define({
    group: "report",
    value: "URL",
    describe: "post what --hook-after gets to this server; whatever it does, the ending stays",
    commands: ["migrate", "verify", "cutover", "fleet work"],
    parse: type.webhookUrl,
  }),
  "webhook-secret-file": define({
    group: "report",
    value: "FILE",
    describe: "sign it by HMAC-SHA256 with the first line of this file (X-Migratekit-Signature)",
    commands: ["migrate", "verify", "cutover", "fleet work"],
    parse: type.text,
  }),
  "webhook-timeout": define(
    {
      group: "report",
      value: "TIME",
      describe: "how long a delivery may take, with all that is tried again",
      commands: ["migrate", "verify", "cutover", "fleet work"],
      parse: type.patience,
      fallback: "10s",
    },
    "defaulted",
  ),
  "webhook-required": define(
    {
      group: "report",
      describe: "also post what --hook-before gets; where that is not taken, nothing is begun",
      commands: ["migrate", "verify", "cutover", "fleet work"],
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  "metrics-file": define({
    group: "report",
    value: "FILE",
    describe: "write Prometheus metrics here at the end (FILE.prom for node_exporter)",
    commands: ["migrate", "cutover"],
    parse: type.text,
  }),
  "metrics-listen": define({
    group: "report",
    value: "ADDRESS:PORT",
    describe: "give Prometheus metrics at http://ADDRESS:PORT/metrics; goes on until a signal",
    commands: ["fleet status", "fleet work"],
    parse: type.listenAddress,
  }),
  watch: define(
    {
      group: "report",
      describe: "go on showing what changes: a job or run until it ends, the rest until a signal",
      commands: ["list", "status", "fleet status"],
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
  limit: define(
    {
      group: "report",
      value: "N",
      describe: "newest runs to list",
      commands: ["history"],
      parse: type.integer(1, 500),
      fallback: "20",
    },
    "defaulted",
  ),

  "state-dir": define({
    group: "general",
    value: "DIR",
    describe: "change IDs, journals, history, locks",
    commands: settled,
    parse: type.text,
    fallbackNote: "/var/lib/migratekit as root, else the XDG state directory",
  }),
  config: define({
    group: "general",
    value: "FILE|NAME",
    describe: "YAML file with any of these settings; NAME: /etc/migratekit/vms/NAME.yaml",
    commands: settled,
    parse: type.text,
  }),
  debug: define(
    {
      group: "general",
      describe: "log every step, with stack traces of errors",
      commands: settled,
      parse: type.flag,
      fallback: "false",
    },
    "defaulted",
  ),
} as const;

export type OptionName = keyof typeof options;

type CamelCase<S extends string> = S extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : S;

type ValueOf<S> =
  S extends OptionSpec<infer T>
    ? S extends { readonly optional: true }
      ? T | undefined
      : T
    : never;

/** The value of every setting, under its name in camel case. */
export type Settings = {
  readonly [K in OptionName as CamelCase<K>]: ValueOf<(typeof options)[K]>;
};

/** `nbd-port` as `nbdPort`. */
export function camelCase(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** The variables that set an option, in order of precedence. */
export function variablesOf(name: string, spec: OptionSpec): string[] {
  const own = `MIGRATEKIT_${name.toUpperCase().replaceAll("-", "_")}`;
  return [...(spec.noOwnVariable ? [] : [own]), ...(spec.variables ?? [])];
}
