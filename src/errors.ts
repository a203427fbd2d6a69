/**
 * The catalogue of everything that can go wrong, and the one error class that carries it.
 * Imports nothing, so that every module can use it. `docs/errors.md` is made from this table.
 */

/** The closed set of exit codes. A signal adds 128+N (see cli.ts). */
export const exitCodes = {
  success: 0,
  bug: 1,
  usage: 2,
  vsphere: 3,
  source: 4,
  target: 5,
  changeIdStore: 6,
  locked: 7,
  mismatch: 8,
  guest: 9,
  cloudstack: 10,
  fleetDatabase: 11,
} as const;

export type ExitClass = Exclude<keyof typeof exitCodes, "success">;

export interface CatalogueEntry {
  /** Decides the exit code. */
  readonly exit: ExitClass;
  /**
   * Whether a later run, perhaps on another appliance, may go well without anybody changing the VM, its
   * target or a setting. A fleet runs it again then; else it waits for an operator.
   */
  readonly passes: boolean;
  /** One sentence: what happened. */
  readonly meaning: string;
  /** One sentence: what the operator does about it. An error may carry a more exact one. */
  readonly remedy: string;
}

export const catalogue = {
  bug: {
    exit: "bug",
    passes: false,
    meaning: "migratekit met a state that its authors did not foresee.",
    remedy: "Run again with --debug and report the output.",
  },
  usage: {
    exit: "usage",
    passes: false,
    meaning: "A flag, variable or configuration field is missing, unknown or out of range.",
    remedy: "Correct the flag or field that the message names; --help lists them.",
  },

  // vSphere
  "vsphere-unreachable": {
    exit: "vsphere",
    passes: true,
    meaning: "No connection to the vCenter or ESXi endpoint could be made.",
    remedy: "Check --vmware-endpoint, name resolution, and that TCP port 443 is open from here.",
  },
  "vsphere-certificate": {
    exit: "vsphere",
    passes: false,
    meaning: "The endpoint's certificate is not the one that is trusted.",
    remedy:
      "Compare the certificate with the host's own; then give --vmware-thumbprint or --vmware-ca-file.",
  },
  "vsphere-login": {
    exit: "vsphere",
    passes: false,
    meaning: "The endpoint refused the user name or the password.",
    remedy: "Check --vmware-username and the password; try them in the vSphere client.",
  },
  "vsphere-permission": {
    exit: "vsphere",
    passes: false,
    meaning: "The account lacks a privilege that this step needs.",
    remedy: "Give the account the privilege named in the message on the VM's folder.",
  },
  "vsphere-protocol": {
    exit: "vsphere",
    passes: true,
    meaning: "The endpoint sent something that is not a valid vSphere answer.",
    remedy: "Check that --vmware-endpoint is a vCenter or ESXi host and not a proxy or web page.",
  },
  "vsphere-fault": {
    exit: "vsphere",
    passes: true,
    meaning: "vSphere answered an operation with a fault.",
    remedy: "Look at the VM's recent tasks in the vSphere client; the fault's own text is above.",
  },
  "vsphere-busy": {
    exit: "vsphere",
    passes: true,
    meaning: "Another task on the VM, or trouble of vSphere's that passes, lasted too long.",
    remedy:
      "Let the VM's other task end (a backup, a storage motion, a consolidation: see its recent tasks), then run again; --busy-timeout waits longer.",
  },
  "vsphere-task-failed": {
    exit: "vsphere",
    passes: true,
    meaning: "A vSphere task ended with an error.",
    remedy: "Look at the VM's recent tasks in the vSphere client for the cause.",
  },
  "vsphere-too-old": {
    exit: "vsphere",
    passes: false,
    meaning: "The vCenter or the ESXi host is older than what this program supports.",
    remedy: "vSphere 6.5 and newer are supported: upgrade it, or go through a newer one.",
  },
  "vm-not-found": {
    exit: "vsphere",
    passes: false,
    meaning: "The inventory has no virtual machine at this path.",
    remedy: "Correct --vmware-path; it has the form /Datacenter/vm/Folder/VM.",
  },
  "vm-unsuitable": {
    exit: "vsphere",
    passes: false,
    meaning: "The virtual machine has a property that rules a migration out.",
    remedy: "Change what the message names, or leave the disk out of the migration.",
  },
  "cbt-unavailable": {
    exit: "vsphere",
    passes: false,
    meaning: "Changed block tracking is off for a disk and could not be turned on.",
    remedy: "Check the VM's hardware version (7 or newer) and its existing snapshots.",
  },
  "changed-areas-unavailable": {
    exit: "vsphere",
    passes: false,
    meaning: "vSphere does not know which areas of a disk changed.",
    remedy: "Run with --full; if it stays, reset changed block tracking of the VM (KB 2139574).",
  },
  "snapshot-failed": {
    exit: "vsphere",
    passes: true,
    meaning: "The snapshot could not be created.",
    remedy: "Look at the VM's recent tasks and its datastore's free space.",
  },

  "datastore-full": {
    exit: "vsphere",
    passes: false,
    meaning: "A datastore of the virtual machine has too little room for a snapshot to grow.",
    remedy: "Make room on the datastore; the next run goes on where this one stopped.",
  },
  "snapshot-gone": {
    exit: "vsphere",
    passes: true,
    meaning: "The run's snapshot was removed by somebody else while the run worked.",
    remedy: "Run again; find out in the VM's recent tasks who removes its snapshots.",
  },
  "vm-changed": {
    exit: "vsphere",
    passes: true,
    meaning: "A disk was added to the virtual machine while a run began.",
    remedy: "Run again when nobody changes the virtual machine's disks.",
  },

  // Source: nbdkit, VDDK, the ESXi host's NFC service
  "nbdkit-missing": {
    exit: "source",
    passes: true,
    meaning: "The nbdkit program was not found or cannot be run.",
    remedy: "Install it (apt-get install nbdkit) or give its path with --nbdkit.",
  },
  "vddk-plugin-missing": {
    exit: "source",
    passes: true,
    meaning: "nbdkit has no VDDK plugin.",
    remedy: "Install nbdkit-plugin-vddk or give the plugin's path with --vddk-plugin.",
  },
  "vddk-library-missing": {
    exit: "source",
    passes: true,
    meaning: "VMware's libvixDiskLib could not be loaded.",
    remedy: "Unpack VMware's VDDK and give its directory with --vddk-libdir.",
  },
  "source-login": {
    exit: "source",
    passes: false,
    meaning: "VDDK could not log in with the credentials that the vSphere endpoint accepted.",
    remedy: "Check that the account has the VM's 'Allow read-only disk access' privilege.",
  },
  "source-thumbprint": {
    exit: "source",
    passes: false,
    meaning: "The host that VDDK reached has another certificate than expected.",
    remedy: "Check --vmware-thumbprint and that no proxy stands between here and the host.",
  },
  "source-unreachable": {
    exit: "source",
    passes: true,
    meaning: "VDDK could not reach the ESXi host that holds the disk.",
    remedy: "Check that this host resolves the ESXi host's own name and that TCP port 902 is open.",
  },
  "source-open": {
    exit: "source",
    passes: true,
    meaning: "The source disk could not be opened.",
    remedy: "The text of VDDK above says why; --debug shows all of it.",
  },
  "source-io": {
    exit: "source",
    passes: true,
    meaning: "Reading the source disk failed and went on failing when tried again.",
    remedy:
      "Check the ESXi host and the network to it; the next run takes up where this one ended.",
  },
  "native-missing": {
    exit: "source",
    passes: true,
    meaning: "The copy engine could not be loaded.",
    remedy: "Install libnbd (apt-get install libnbd0).",
  },

  // Target
  "target-unreachable": {
    exit: "target",
    passes: true,
    meaning: "No connection to the NBD target could be made.",
    remedy: "Check --nbd-host, --nbd-port or --nbd-targets, and that the tunnel is up.",
  },
  "target-refused": {
    exit: "target",
    passes: false,
    meaning: "The NBD server has no such export, or refuses it.",
    remedy: "Check the export name against the server's list of exports.",
  },
  "target-certificate": {
    exit: "target",
    passes: false,
    meaning: "A certificate of TLS to the target has expired.",
    remedy: "Have it renewed: docs/tunnel.md says how one is made.",
  },
  "target-too-small": {
    exit: "target",
    passes: false,
    meaning: "The target is smaller than the disk.",
    remedy: "Make the CloudStack volume at least as large as the disk.",
  },
  "target-read-only": {
    exit: "target",
    passes: false,
    meaning: "The target does not allow writing.",
    remedy: "Export the volume writable.",
  },
  "target-io": {
    exit: "target",
    passes: true,
    meaning: "Writing to the target failed and went on failing when tried again.",
    remedy: "Check the NBD server and the tunnel; the next run takes up where this one ended.",
  },
  "target-mismatch": {
    exit: "target",
    passes: false,
    meaning: "The target no longer holds what the last run left on it.",
    remedy:
      "Check that the volume is the right one; to copy everything over it, give --full or --on-target-mismatch full.",
  },
  "target-no-flush": {
    exit: "target",
    passes: false,
    meaning: "The target offers no flush, so nothing written there can be called done.",
    remedy:
      "Set flush = true for the export (nbd-server's own default is false), or give --accept-no-flush if a power cut there does not matter.",
  },
  "target-forgets": {
    exit: "target",
    passes: false,
    meaning: "The target does not hold what was written to it and flushed.",
    remedy:
      "Look for copyonwrite = true at nbd-server, for another writer and for a cache that loses data; the next run copies everything.",
  },
  "export-tool-missing": {
    exit: "target",
    passes: true,
    meaning: "A program that exports the volumes is not installed here.",
    remedy: "Install the package that the message names.",
  },
  "export-failed": {
    exit: "target",
    passes: true,
    meaning: "The volumes' NBD server could not be started, or ended, or refused a volume.",
    remedy:
      "See to what the message says: the address of --listen is taken, the certificates cannot be read, or the device is used by another program.",
  },

  "target-owned": {
    exit: "locked",
    passes: false,
    meaning: "The target belongs to another disk, which was copied to it before.",
    remedy:
      "Correct the target. If that disk shall lose it, what is there being overwritten, run with --take-over-target.",
  },

  // Change IDs and other state
  "state-unusable": {
    exit: "changeIdStore",
    passes: true,
    meaning: "The state directory or its database cannot be used.",
    remedy: "Check the directory's owner, mode and free space, or give another --state-dir.",
  },
  "change-id-read": {
    exit: "changeIdStore",
    passes: true,
    meaning: "The stored change IDs could not be read.",
    remedy: "Check the OMA API (CLOUDSTACK_API_URL), or run with --full to do without them.",
  },
  "change-id-write": {
    exit: "changeIdStore",
    passes: true,
    meaning: "The new change ID could not be stored where the appliance manages it.",
    remedy: "Nothing is lost: it is kept locally and the next run uses it. Check the OMA API.",
  },

  // The rest
  "vma-unavailable": {
    exit: "changeIdStore",
    passes: true,
    meaning: "The VMA API did not give an answer that could be used.",
    remedy: "Check --vma-url and that the VMA API service runs.",
  },
  "job-failed": {
    exit: "changeIdStore",
    passes: false,
    meaning: "The job that 'status --watch' followed ended, and not well.",
    remedy: "Look at 'migratekit history' and the log of the run, where it ran.",
  },
  locked: {
    exit: "locked",
    passes: true,
    meaning: "Another run is working on this virtual machine, or writes to this target.",
    remedy: "Wait for that run to end, or stop it.",
  },
  "verification-mismatch": {
    exit: "mismatch",
    passes: false,
    meaning: "The target differs from the snapshot.",
    remedy: "Run 'migratekit verify --repair', or migrate again with --full.",
  },
  "verification-impossible": {
    exit: "changeIdStore",
    passes: false,
    meaning: "Nothing is known of the target that the snapshot could be compared with.",
    remedy: "Run 'migratekit migrate' to its end; then the target can be verified.",
  },

  // Guest: conversion and rehearsal
  "guest-tool-missing": {
    exit: "guest",
    passes: true,
    meaning: "A program or file that a conversion needs is not installed here.",
    remedy: "Install the package that the message names.",
  },
  "guest-unsupported": {
    exit: "guest",
    passes: false,
    meaning: "The guest is of a kind that cannot be converted.",
    remedy:
      "Install virtio drivers in the guest by hand while it runs at VMware, then copy it without converting.",
  },
  "guest-encrypted": {
    exit: "guest",
    passes: false,
    meaning: "A disk of the guest is encrypted, and nothing that was given opens it.",
    remedy:
      "Give the file with its key with --luks-key; what opens it in the guest stays as it is.",
  },
  "conversion-failed": {
    exit: "guest",
    passes: false,
    meaning: "The conversion broke off; the targets are as they were.",
    remedy: "Run again with --debug, which shows the whole log of the program that failed.",
  },
  "conversion-timeout": {
    exit: "guest",
    passes: false,
    meaning: "The conversion did not end within --convert-timeout; the targets are as they were.",
    remedy:
      "Run with --debug to see where it stands still; allow more with --convert-timeout if it is only slow.",
  },
  "overlay-too-large": {
    exit: "guest",
    passes: false,
    meaning: "The conversion would change more of the disks than is allowed.",
    remedy: "Find out with --debug what writes so much in the guest; --overlay-max allows more.",
  },
  "work-folder-unusable": {
    exit: "guest",
    passes: true,
    meaning: "The folder for temporary files cannot be used, or is full.",
    remedy: "Make room there, or set TMPDIR to a folder on a larger file system.",
  },
  "boot-failed": {
    exit: "guest",
    passes: true,
    meaning: "QEMU could not start the guest here, so nothing is known of it.",
    remedy: "Look at QEMU's own words in the message; make memory free on this machine.",
  },

  "overlay-unreadable": {
    exit: "guest",
    passes: false,
    meaning: "What a conversion changed cannot be read back.",
    remedy:
      "Nothing was written to a target. The message says what is wrong with qemu-img or the overlay.",
  },
  "conversion-too-large": {
    exit: "usage",
    passes: false,
    meaning: "The conversion changes more than what may be kept for the way back.",
    remedy:
      "Nothing was written to a target. Allow more with --keep-old-max, where the folder of --keep-old has room.",
  },
  "old-bytes-unkept": {
    exit: "changeIdStore",
    passes: true,
    meaning: "What the conversion is going to change could not be kept, so it was not applied.",
    remedy: "Make room in the folder, or give another with --keep-old.",
  },
  "old-bytes-lost": {
    exit: "changeIdStore",
    passes: false,
    meaning: "What a conversion kept for the way back is gone, or is not what it was.",
    remedy: "Bring the folder back from where it went, or copy everything again with --full.",
  },
  converted: {
    exit: "locked",
    passes: false,
    meaning: "The targets hold a converted guest, which a sync would destroy in part.",
    remedy:
      "Go back with 'migratekit rollback'; then syncs go on. Or copy everything again with --full.",
  },

  "guest-will-not-boot": {
    exit: "guest",
    passes: false,
    meaning:
      "The converted guest would not boot, or nobody can tell; the targets are as they were.",
    remedy: "See to what the findings say in the source, sync, and convert again.",
  },
  "not-in-sync": {
    exit: "changeIdStore",
    passes: false,
    meaning: "The targets do not hold one finished state of the virtual machine.",
    remedy: "Run 'migratekit migrate' to its end first.",
  },
  "not-converted": {
    exit: "usage",
    passes: false,
    meaning: "There is no conversion on the targets that could be taken back.",
    remedy: "See 'migratekit history' for what was done with this virtual machine.",
  },

  // CloudStack's API
  "cloudstack-unreachable": {
    exit: "cloudstack",
    passes: true,
    meaning: "CloudStack's API gave no answer.",
    remedy:
      "Check --cloudstack-endpoint (https://HOST/client/api), name resolution, the port, and that the management server runs.",
  },
  "cloudstack-certificate": {
    exit: "cloudstack",
    passes: false,
    meaning: "The certificate of CloudStack's API is not one that is trusted.",
    remedy: "Give the authority that signed it with --cloudstack-ca-file.",
  },
  "cloudstack-protocol": {
    exit: "cloudstack",
    passes: true,
    meaning: "What answers at the endpoint does not answer as CloudStack's API does.",
    remedy: "Check --cloudstack-endpoint: it ends with /client/api and is no web page or proxy.",
  },
  "cloudstack-login": {
    exit: "cloudstack",
    passes: false,
    meaning: "CloudStack refused the API key or the signature made with the secret key.",
    remedy:
      "Check both keys (--cloudstack-api-key, --cloudstack-secret-key-file), that the user is enabled, and the clocks here and there.",
  },
  "cloudstack-permission": {
    exit: "cloudstack",
    passes: false,
    meaning: "The account's role does not allow a command, or the thing belongs to somebody else.",
    remedy: "Give the role the commands that docs/cloudstack.md lists, or use the owner's key.",
  },
  "cloudstack-parameter": {
    exit: "cloudstack",
    passes: false,
    meaning: "CloudStack refused a value that it was given.",
    remedy: "Correct the flag that stands behind the value; CloudStack's own text is above.",
  },
  "cloudstack-not-found": {
    exit: "cloudstack",
    passes: false,
    meaning: "CloudStack has no such thing, or the key may not see it.",
    remedy: "Correct the name or id in the flag that the message names.",
  },
  "cloudstack-conflict": {
    exit: "cloudstack",
    passes: false,
    meaning: "Something in CloudStack is in use, attached elsewhere or there twice.",
    remedy: "Look at the thing that the message names in CloudStack's own interface.",
  },
  "cloudstack-capacity": {
    exit: "cloudstack",
    passes: true,
    meaning: "CloudStack has no room: no host or no storage pool that could take it.",
    remedy: "Ask the cloud's operator for room, or choose another offering or zone.",
  },
  "cloudstack-limit": {
    exit: "cloudstack",
    passes: false,
    meaning: "The account's limit for volumes, instances, CPUs, memory or storage is reached.",
    remedy: "Have the limit raised, or remove what is not needed any more.",
  },
  "cloudstack-throttled": {
    exit: "cloudstack",
    passes: true,
    meaning: "CloudStack wants fewer requests in a time than were needed.",
    remedy: "Run fewer at a time, or have the limit of requests raised (api.throttling.max).",
  },
  "cloudstack-job-failed": {
    exit: "cloudstack",
    passes: true,
    meaning: "A job of CloudStack failed.",
    remedy: "CloudStack's own text is above; its management server's log has more under the job.",
  },
  "cloudstack-answer-lost": {
    exit: "cloudstack",
    passes: true,
    meaning: "A job of CloudStack, or its answer, was lost, and what was asked for did not come.",
    remedy: "Run again: what is there then is looked at first, and nothing is asked for twice.",
  },
  "cloudstack-fault": {
    exit: "cloudstack",
    passes: true,
    meaning: "CloudStack answered with an error of its own.",
    remedy: "CloudStack's own text is above; its management server's log has more.",
  },

  // The machine in CloudStack
  "instance-not-alive": {
    exit: "cloudstack",
    passes: false,
    meaning: "The new machine was started in CloudStack and not seen alive.",
    remedy:
      "Look at its console in a rehearsal ('migratekit rehearse --boot'), see what --alive asks for, and allow more with --alive-timeout.",
  },
  deployed: {
    exit: "locked",
    passes: false,
    meaning: "The virtual machine's volumes are on their way to a machine in CloudStack, or back.",
    remedy:
      "Go on with the command that began it, or go back with 'migratekit rollback'; then syncs go on.",
  },

  // Cutover
  "cut-over": {
    exit: "locked",
    passes: false,
    meaning: "The virtual machine was cut over: its volumes are another machine's disks now.",
    remedy:
      "Stop what still runs this (disable the timer, remove the cron line). To copy the VM again, run with --reopen: what was written to the volumes since the cutover is then lost.",
  },
  "hook-failed": {
    exit: "usage",
    passes: true,
    meaning: "The program of --hook-before failed, or was not done in time: nothing was begun.",
    remedy: "See what it printed in the log; it gets the run as JSON on stdin and must end with 0.",
  },
  "webhook-failed": {
    exit: "usage",
    passes: true,
    meaning:
      "The server of --webhook did not take the run, as --webhook-required demands: nothing was begun.",
    remedy:
      "See that the server is up, that its certificate is trusted here, and that it answers with a status of 200 to 299 within --webhook-timeout.",
  },
  "downtime-exceeded": {
    exit: "usage",
    passes: true,
    meaning: "The last sync would take longer than --max-downtime, after all passes.",
    remedy: "Choose a quieter time, or allow more with --max-downtime or --max-passes.",
  },
  "shutdown-failed": {
    exit: "vsphere",
    passes: false,
    meaning: "The guest did not shut down.",
    remedy: "Shut the guest down by hand and run the cutover again, or allow --force-power-off.",
  },
  "power-state-changed": {
    exit: "vsphere",
    passes: false,
    meaning: "The VM was powered on while the last sync ran.",
    remedy: "Find out who powered it on; then run the cutover again.",
  },

  // The fleet's database
  "fleet-lease-lost": {
    exit: "locked",
    passes: true,
    meaning:
      "The fleet has given the VM to another worker, since this one could not renew its lease in time.",
    remedy:
      "Nothing: the other worker goes on with the VM. Where it comes again, see to the connection to the fleet's database, and whether this appliance is stopped at times.",
  },
  "fleet-host-full": {
    exit: "locked",
    passes: true,
    meaning:
      "The ESXi host, a datastore or the target server has as many of the fleet's runs as it may have.",
    remedy: "Nothing: the VM keeps its turn. More at a time are a matter of the plan's limits.",
  },
  "fleet-database-unreachable": {
    exit: "fleetDatabase",
    passes: true,
    meaning: "The fleet's PostgreSQL gave no answer.",
    remedy:
      "Check --fleet-database (postgres://USER@HOST:PORT/NAME), name resolution, the port, and that the server runs.",
  },
  "fleet-database-login": {
    exit: "fleetDatabase",
    passes: false,
    meaning: "The fleet's PostgreSQL refused the user, the password, or how it was connected to.",
    remedy:
      "Check the user in --fleet-database and the password (--fleet-database-password-file, PGPASSFILE), and the server's pg_hba.conf.",
  },
  "fleet-database-certificate": {
    exit: "fleetDatabase",
    passes: false,
    meaning: "The certificate of the fleet's PostgreSQL is not one that is trusted.",
    remedy:
      "Give the authority that signed it with ?sslmode=verify-full&sslrootcert=FILE in --fleet-database.",
  },
  "fleet-database-permission": {
    exit: "fleetDatabase",
    passes: false,
    meaning: "The user may not do this in the fleet's database.",
    remedy:
      "Use the user that ran 'migratekit fleet init'; for a worker run 'migratekit fleet init --worker-role NAME' once as that user.",
  },
  "fleet-database-schema": {
    exit: "fleetDatabase",
    passes: false,
    meaning: "The database holds no fleet, or one of another version.",
    remedy: "Run 'migratekit fleet init' once with the newest migratekit that works on the fleet.",
  },
  "fleet-database-fault": {
    exit: "fleetDatabase",
    passes: true,
    meaning: "PostgreSQL answered with an error.",
    remedy: "PostgreSQL's own text is above; the server's log has more.",
  },
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof catalogue;

/** Machine-readable facts of an error: disk, side, offset, length, host. Never a secret. */
export type ErrorContext = Readonly<Record<string, string | number | boolean | undefined>>;

export interface ErrorOptions {
  readonly cause?: unknown;
  /** Replaces the catalogue's remedy where the place of failure knows better. */
  readonly remedy?: string;
  readonly context?: ErrorContext;
}

/** An error that migratekit foresees: one line of cause (`message`), one of remedy, an exit code. */
export class MigratekitError extends Error {
  override readonly name = "MigratekitError";
  readonly code: ErrorCode;
  readonly remedy: string;
  readonly context: ErrorContext;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.remedy = options.remedy ?? catalogue[code].remedy;
    this.context = options.context ?? {};
  }

  get exitCode(): number {
    return exitCodes[catalogue[this.code].exit];
  }
}

/** What the catalogue says will pass, sooner or later: worth trying again. */
export function passesByItself(error: unknown): error is MigratekitError {
  return error instanceof MigratekitError && catalogue[error.code].passes;
}

/** The text of anything thrown, for messages. */
export function messageOf(error: unknown): string {
  if (error instanceof Error) return error.message || error.name;
  return typeof error === "string" ? error : (JSON.stringify(error) ?? String(error));
}

/** True for a system error (`ENOENT`, `ECONNREFUSED` …) with one of these codes. */
export function hasSystemCode(error: unknown, ...codes: string[]): boolean {
  return (
    error instanceof Error &&
    "code" in error &&
    typeof error.code === "string" &&
    codes.includes(error.code)
  );
}
