/**
 * What nbdkit, its VDDK plugin and VMware's library say when something fails, and what it means.
 *
 * The NBD client sees none of it: whatever keeps a disk from opening reaches it as "server has no
 * export named ''". The texts are those of VixDiskLib_GetErrorText, of VDDK's [NFC ERROR], Cnx* and
 * VixDiskLibVim lines, as they stand in public trackers (velero-plugin-for-vsphere 118 and 145,
 * vexxhost/migratekit 14, CDI 3385, rhbz 1614276) and in nbdkit-vddk-plugin(1).
 */
import type { ErrorCode } from "../../errors.ts";

/** One line of nbdkit's stderr, taken apart. */
export interface NbdkitLine {
  readonly level: "error" | "debug" | "other";
  /** Number of the client's connection; 0 where the line does not tell. */
  readonly connection: number;
  readonly text: string;
}

export interface Cause {
  readonly code: ErrorCode;
  /** What went wrong, to follow the name of the disk; ends with VDDK's own words. */
  readonly message: string;
  readonly remedy?: string;
  /** "host" or "host:port" of the ESXi host, where the line names it. */
  readonly host?: string;
  /** Of two causes the one with the lower rank is nearer to the root. */
  readonly rank: number;
  /** The line as it came. */
  readonly line: string;
}

interface Pattern {
  readonly code: ErrorCode;
  readonly pattern: RegExp;
  /** Debug lines tell of attempts, too; these patterns hold only where nbdkit calls it an error. */
  readonly onlyErrors?: true;
  readonly message: (text: string, match: RegExpExecArray) => string;
  readonly remedy?: string;
  readonly host?: (match: RegExpExecArray) => string | undefined;
}

const tooManyConnections =
  "The host or vCenter has no room for more NFC connections (about 52 through a vCenter, 48 MB of buffers a host): lower --source-connections and --parallel-disks, and end other backups.";
const thumbprintRemedy =
  "Check --vmware-thumbprint, and that no proxy stands between here and the host.";

/** In order of rank: what is nearest to the root comes first. */
const patterns: readonly Pattern[] = [
  {
    code: "vddk-plugin-missing",
    onlyErrors: true,
    pattern: /^cannot open plugin '([^']*)'/,
    message: (text) => `nbdkit cannot load the VDDK plugin: ${text}`,
  },
  {
    code: "vddk-library-missing",
    onlyErrors: true,
    pattern:
      /libvixDiskLib\.so|required VDDK symbol|VDDK version must be|cannot open shared object file|wrong ELF class|undefined symbol/,
    message: (text) => `VMware's library could not be loaded: ${text}`,
  },
  {
    code: "source-thumbprint",
    pattern: /actual thumbprint=(\S+?),? +expected=(\S+)/,
    message: (_, [, actual, expected]) =>
      `the host's certificate has the SHA-1 thumbprint ${actual}, not ${expected}`,
    remedy: thumbprintRemedy,
  },
  {
    code: "source-thumbprint",
    pattern:
      /failed to verify SSL certificate|host certificate chain is not complete|thumbprint .*(?:mismatch|not match|differ)|certificate verif\w* failed/i,
    message: (text) => `the host's certificate is not the expected one: ${text}`,
    remedy: thumbprintRemedy,
  },
  {
    code: "source-login",
    pattern: /incorrect user ?name or password|InvalidLogin|\blogin (?:failure|failed)/i,
    message: (text) => `the user name or password was refused: ${text}`,
  },
  {
    code: "source-open",
    pattern:
      /failed to allocate the requested|NFC_NO_MEMORY|(?:too many|maximum number of)[\w ]*(?:connection|session)s|connection limit|insufficient resources|ERR_INSUFFICIENT_RESOURCES/i,
    message: (text) => `the host has no room for another NFC connection: ${text}`,
    remedy: tooManyConnections,
  },
  {
    code: "source-unreachable",
    pattern:
      /(?:address lookup for server ([^\s:']+) failed|failed to resolve(?: host(?:name)?)? '?([^\s:']+))/i,
    message: (text, [, a, b]) => `the name of ESXi host ${a ?? b} cannot be resolved: ${text}`,
    host: ([, a, b]) => a ?? b,
  },
  {
    code: "source-unreachable",
    pattern:
      /(?:failed to|cannot|could not|couldn't|unable to|timed out) connect(?:ing)?(?: to)?(?: the)?(?: server| host)? *(\[[\da-f:.]+\]|[^\s:<>]+):(\d+)/i,
    message: (text, [, host, port]) => `cannot connect to host ${host}:${port}: ${text}`,
    host: ([, host, port]) => `${host}:${port}`,
  },
  {
    code: "source-unreachable",
    onlyErrors: true,
    pattern:
      /vmware-authd socket|failed to connect to peer|create a connection with server|cannot connect to (?:the )?host|server refused connection|server could not be contacted|communication with the (?:virtual )?host|host is not available/i,
    message: (text) => `cannot connect to the ESXi host that holds the disk: ${text}`,
  },
  {
    code: "source-open",
    pattern:
      /cannot create disk spec|snapshot .*(?:not found|does not exist)|managed object .*(?:not found|deleted)|ManagedObjectNotFound/i,
    message: (text) => `the snapshot or the disk in it does not exist: ${text}`,
  },
  {
    code: "source-open",
    onlyErrors: true,
    pattern: /VixDiskLib_(?:Open|ConnectEx)\b.*: (A file was not found|The file specified .*)$/,
    message: (_, [, reason]) => `there is no such disk or snapshot: ${reason}`,
  },
  {
    code: "source-login",
    onlyErrors: true,
    pattern: /asynchronous read failed: You do not have access rights/,
    message: (text) => `access to the disk was refused: ${text}`,
    remedy:
      "The disk opened and may not be read: check that VDDK reads the ESXi host's release (docs/vddk.md), and that the account has 'Allow read-only disk access' on the VM.",
  },
  {
    code: "source-login",
    onlyErrors: true,
    pattern:
      /do not have access rights|insufficient permissions|not have (?:the )?permission|NoPermission/i,
    message: (text) => `access to the disk was refused: ${text}`,
  },
  {
    code: "source-io",
    onlyErrors: true,
    pattern: /asynchronous read failed|VixDiskLib_Read\w*: |NfcAio\w*|connection .*\blost\b/i,
    message: (text) => `reading failed: ${text}`,
  },
  {
    code: "source-open",
    onlyErrors: true,
    pattern: /VixDiskLib_(?:Open|ConnectEx)\b.*: Unknown error$/,
    message: () =>
      'VDDK says no more than "Unknown error", which is how it reports a wrong thumbprint, too',
    remedy: `${thumbprintRemedy} --debug shows all that VDDK said.`,
  },
  {
    code: "source-open",
    onlyErrors: true,
    pattern: /VixDiskLib_\w+\b/,
    message: (text) => text,
  },
];

const linePattern = /^[\w.-]+: (?:\w+(?:\[(\d+)\]|\.\d+)?: )?(error|debug): (.*)$/;

/** Takes a line apart; one that is not in nbdkit's form is of level `other`, whole. */
export function parseLine(line: string): NbdkitLine {
  const match = linePattern.exec(line);
  if (!match) return { level: "other", connection: 0, text: line };
  return {
    level: match[2] as "error" | "debug",
    connection: Number(match[1] ?? 0),
    text: match[3] ?? "",
  };
}

/** The cause that this line tells of, if it does. */
export function recogniseCause(line: string, parsed = parseLine(line)): Cause | undefined {
  // nbdkit's own debug lines repeat parameters; names in them must not look like failures.
  if (parsed.level === "debug" && isEcho.test(parsed.text)) return undefined;
  if (isAdvice.test(parsed.text)) return undefined;
  for (const [rank, entry] of patterns.entries()) {
    if (entry.onlyErrors && parsed.level !== "error") continue;
    const match = entry.pattern.exec(parsed.text);
    if (!match) continue;
    const { code, remedy } = entry;
    const host = entry.host?.(match);
    return { code, remedy, host, rank, line, message: entry.message(parsed.text, match) };
  }
  return undefined;
}

/** The transport by which a disk was opened after all, where the plugin reports that in this line. */
export function transportOfOpenDisk(parsed: NbdkitLine): string | undefined {
  return parsed.level === "debug" ? /^transport mode: (\S+)/.exec(parsed.text)?.[1] : undefined;
}

/** True for the line with which the plugin answers one read with an error. */
export function tellsOfFailedRead(parsed: NbdkitLine): boolean {
  return parsed.level === "error" && failedRead.test(parsed.text);
}

/** The host that VDDK goes to: "…nfcssl://[ds] vm/disk.vmdk@esx7:902". */
export function nfcHostOf(text: string): string | undefined {
  return /\bnfc(?:ssl)?:\/\/.*@([^\s@!]+:\d+)/.exec(text)?.[1];
}

const failedRead = /asynchronous read failed: |^VixDiskLib_Read\w*: /;
const isEcho = /^(?:[\w-]+: )?(?:config key=|VDDK call: )/;
const isAdvice = /^VDDK "Unknown error" can be caused by/;
