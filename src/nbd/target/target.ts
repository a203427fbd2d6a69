/** Which disk goes to which NBD export: --nbd-targets and --nbd-export-name. */
import { MigratekitError, messageOf } from "../../errors.ts";
import { describeDisk, sharedTarget, type TargetDisk } from "./disk.ts";
import { formatNbdUri, nbdUri, parseNbdUri, targetIdentity } from "./uri.ts";

export interface TargetChoice {
  /** --nbd-targets; beats the export name. */
  readonly nbdTargets?: string | undefined;
  /** --nbd-export-name */
  readonly exportName: string;
  readonly host: string;
  readonly port: number;
  /** Where disks were copied to before, by device key: identities (uri.ts). */
  readonly knownTargets?: ReadonlyMap<number, string> | undefined;
  /** Disks left out on purpose: a target given for one is not an error. */
  readonly skippedKeys?: readonly number[];
}

const rightForm =
  "--nbd-targets takes DEVICE_KEY:URI entries separated by commas: 2000:nbd://host:port/export,2001:nbd://host:port/other (a comma in a name is %2C).";

/**
 * `2000:nbd://host:port/export,disk-2001:nbds://…` as device key → normal URI.
 * @throws MigratekitError `usage` naming the entry at fault and the right form
 */
export function parseTargets(flag: string): Map<number, string> {
  const targets = new Map<number, string>();
  for (const [index, text] of flag.split(",").entries()) {
    const entry = text.trim();
    const match = /^(?:disk-)?(\d{1,9}):(.*)$/s.exec(entry);
    if (!match) throw badEntry(index, entry, "it does not begin with a device key and a colon");
    const key = Number(match[1]);
    if (targets.has(key)) throw badEntry(index, entry, `disk ${key} has a target already`);
    targets.set(key, normalUri(index, entry, match[2] ?? ""));
  }
  refuseSharedTargets(targets, (key) => `disk-${key}`);
  return targets;
}

/** `{key}` and `{index}` in --nbd-export-name. */
export function expandExportName(
  template: string,
  disk: { readonly key: number; readonly index: number },
): string {
  return template.replaceAll(/\{(key|index)\}/g, (_, name: "key" | "index") => `${disk[name]}`);
}

/**
 * The target of every disk.
 * @throws MigratekitError `usage`: no target for a disk, a target without a disk, two disks on one
 *   target (writing one disk over another has destroyed data), one export for several disks
 */
export function assignTargets(
  disks: readonly TargetDisk[],
  choice: TargetChoice,
): Map<number, string> {
  const uris = choice.nbdTargets ? assignGiven(disks, choice) : assignByName(disks, choice);
  refuseSharedTargets(uris, (key) => describeDisk(disks.find((disk) => disk.key === key)!));
  return uris;
}

function assignGiven(disks: readonly TargetDisk[], choice: TargetChoice): Map<number, string> {
  const given = parseTargets(choice.nbdTargets ?? "");
  const known = [...disks.map(({ key }) => key), ...(choice.skippedKeys ?? [])];
  const stray = [...given.keys()].find((key) => !known.includes(key));
  if (stray !== undefined) {
    throw new MigratekitError(
      "usage",
      `--nbd-targets names disk ${stray}, but the VM has ${listDisks(disks)}`,
      { remedy: "Correct the device key: disks are matched by it alone, never by their order." },
    );
  }
  const missing = disks.filter(({ key }) => !given.has(key));
  if (missing.length > 0) {
    throw new MigratekitError("usage", `--nbd-targets has no target for ${listDisks(missing)}`, {
      remedy: `Add ${missing.map(({ key }) => `${key}:nbd://host:port/export`).join(",")}, or leave the disk out with --skip-disks.`,
    });
  }
  return new Map(disks.map(({ key }) => [key, given.get(key)!]));
}

function assignByName(disks: readonly TargetDisk[], choice: TargetChoice): Map<number, string> {
  const { exportName, host, port } = choice;
  const uriFor = (template: string, disk: TargetDisk, position: number) =>
    nbdUri(
      host,
      port,
      expandExportName(template, { key: disk.key, index: disk.index ?? position }),
    );
  if (disks.length > 1 && !/\{(?:key|index)\}/.test(exportName)) {
    const { knownTargets } = choice;
    const own = uriFor(exportName, disks[0]!, 0);
    const keepsIt = (disk: TargetDisk) => knownTargets?.get(disk.key) === targetIdentity(own);
    const paste = disks.map(
      (disk, at) => `${disk.key}:${keepsIt(disk) ? own : uriFor(`${exportName}-{key}`, disk, at)}`,
    );
    throw new MigratekitError(
      "usage",
      `--nbd-export-name ${exportName} is one export, but the VM has ${listDisks(disks)}`,
      {
        remedy: `Give each disk its own export (correct the names): --nbd-targets '${paste.join(",").replaceAll("'", "%27")}'`,
      },
    );
  }
  return new Map(
    disks.map((disk, at) => [disk.key, checkedUri(() => uriFor(exportName, disk, at))]),
  );
}

function checkedUri(make: () => string): string {
  try {
    const uri = make();
    parseNbdUri(uri);
    return uri;
  } catch (error) {
    throw new MigratekitError(
      "usage",
      `--nbd-host, --nbd-port and --nbd-export-name make no target: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

function refuseSharedTargets(
  uris: ReadonlyMap<number, string>,
  describe: (key: number) => string,
): void {
  const owners = new Map<string, number>();
  for (const [key, uri] of uris) {
    const identity = targetIdentity(uri);
    const owner = owners.get(identity);
    if (owner !== undefined) throw sharedTarget(describe(owner), describe(key), uri);
    owners.set(identity, key);
  }
}

function normalUri(index: number, entry: string, uri: string): string {
  try {
    return formatNbdUri(parseNbdUri(uri));
  } catch (error) {
    if (!(error instanceof MigratekitError)) throw error;
    throw badEntry(index, entry, error.message, error.remedy);
  }
}

/** The entry is shown without what stands before an @: it may be a password. */
function badEntry(
  index: number,
  entry: string,
  reason: string,
  remedy = rightForm,
): MigratekitError {
  const shown = entry
    .replace(/\/\/[^/]*@/, "//…@")
    .replaceAll(/\p{Cc}/gu, "\ufffd")
    .slice(0, 200);
  return new MigratekitError(
    "usage",
    `--nbd-targets, entry ${index + 1} (${shown === "" ? "empty" : shown}): ${reason}`,
    { remedy: remedy === rightForm ? remedy : `${remedy} ${rightForm}` },
  );
}

function listDisks(disks: readonly TargetDisk[]): string {
  const count = disks.length === 1 ? "" : `${disks.length} disks: `;
  return `${count}${disks.map(describeDisk).join("; ")}`;
}
