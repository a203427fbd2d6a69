/** What of the targets is encrypted, and the files that open it: known before anything is started. */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Config } from "../../config.ts";
import { MigratekitError } from "../../errors.ts";
import { fileProblem } from "../../file-problem.ts";
import type { LuksKey } from "../../guest/guest.ts";
import { addSecret } from "../../logger.ts";
import { readRange } from "../../nbd/copy-engine/copy-engine.ts";
import { patiently } from "../../nbd/copy-engine/patience.ts";
import type { GivenKey } from "../../option-types.ts";
import { formatBytes } from "../../text.ts";
import { type EncryptedPart, listEncryptedParts } from "../../volume/volume.ts";
import type { SyncedDisk } from "./synced.ts";

/** cryptsetup reads no more of a key that is typed, nor does libguestfs. */
const keyBytesMax = 512;

/**
 * libguestfs takes a file's first line for the key, so a file of more than that would be another key to the guest.
 * From here on no log shows it. @throws MigratekitError `usage`, naming the file
 */
export async function checkKeyFiles({ luksKey = [] }: Pick<Config, "luksKey">): Promise<void> {
  for (const { file } of luksKey) {
    const key = await readFile(file).catch((error: unknown) => {
      throw unusable(file, `cannot be read: ${fileProblem(error)}`, error);
    });
    const line = key.at(-1) === 0x0a ? key.subarray(0, -1) : key;
    if (line.length === 0) throw unusable(file, "is empty");
    if (line.length > keyBytesMax) throw unusable(file, `is longer than ${keyBytesMax} bytes`);
    if (line.includes(0x0a) || line.includes(0)) {
      throw unusable(file, "is not one line of text, which is all that libguestfs takes");
    }
    addSecret(line.toString());
  }
}

function unusable(file: string, problem: string, cause?: unknown): MigratekitError {
  const remedy =
    "Add a passphrase to the guest's LUKS ('cryptsetup luksAddKey') and give a file with it.";
  return new MigratekitError("usage", `--luks-key ${file} ${problem}`, {
    ...(cause === undefined ? { remedy } : { cause }),
  });
}

/**
 * The keys of all LUKS on the targets, each by the UUID that it is for. One given by UUID counts even where nothing
 * is seen from here, as in a logical volume over two disks.
 * @throws MigratekitError `guest-encrypted` for LUKS without a key, `guest-unsupported` for BitLocker; NbdError;
 *   the signal's reason
 */
export async function findLuksKeys(
  disks: readonly SyncedDisk[],
  given: readonly GivenKey[],
  signal: AbortSignal,
): Promise<LuksKey[]> {
  const keys: LuksKey[] = given.flatMap(({ uuid, file }) =>
    uuid === undefined ? [] : [{ uuid, file: resolve(file) }],
  );
  const forAll = given.filter(({ uuid }) => uuid === undefined).map(({ file }) => resolve(file));
  for (const { diskId, capacityBytes, target } of disks) {
    const read = (offset: number, length: number) =>
      patiently(signal, () => readRange(target.endpoint, offset, length, { signal }));
    for (const part of await listEncryptedParts(read, capacityBytes)) {
      const { uuid } = part;
      if (uuid === undefined) throw bitLocker(diskId, part);
      if (keys.some((key) => key.uuid === uuid)) continue;
      if (forAll.length === 0) throw withoutKey(diskId, part);
      keys.push(...forAll.map((file) => ({ uuid, file })));
    }
  }
  return keys;
}

const placeOf = (diskId: string, { offsetBytes }: EncryptedPart): string =>
  offsetBytes === 0 ? diskId : `${diskId}, from ${formatBytes(offsetBytes)} on,`;

function bitLocker(diskId: string, part: EncryptedPart): MigratekitError {
  const message = `${placeOf(diskId, part)} is encrypted with BitLocker, for which there is no conversion`;
  const remedy =
    "Turn BitLocker off in the guest ('manage-bde -off C:'), wait until all is decrypted, and sync.";
  return new MigratekitError("guest-unsupported", message, { remedy, context: { disk: diskId } });
}

function withoutKey(diskId: string, part: EncryptedPart): MigratekitError {
  const message = `${placeOf(diskId, part)} is encrypted with LUKS (UUID ${part.uuid}), and --luks-key was not given for it`;
  return new MigratekitError("guest-encrypted", message, { context: { disk: diskId } });
}
