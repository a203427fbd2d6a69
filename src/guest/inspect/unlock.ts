/** LUKS opened with the keys that were given, so that what lies in it is seen. */
import { readFile } from "node:fs/promises";
import { MigratekitError } from "../../errors.ts";
import { type Guestfish, GuestfishError } from "../guestfish/guestfish.ts";

/** A file whose only line opens the LUKS of this UUID. */
export interface LuksKey {
  /** In lower case. */
  readonly uuid: string;
  readonly file: string;
}

/**
 * Gives the names of what is inside, by the appliance, with the UUIDs of their headers.
 * @throws MigratekitError `guest-encrypted` where no key opens one
 */
export async function unlock(
  guestfish: Guestfish,
  keys: readonly LuksKey[],
): Promise<ReadonlyMap<string, string>> {
  const opened = new Map<string, string>();
  if (keys.length === 0) return opened;
  // Their list of file systems has no LUKS.
  const places = ["list-devices", "list-partitions", "lvs"];
  const devices: string[] = [];
  for (const place of places) devices.push(...(await guestfish.lines(place)));
  for (const device of devices) {
    if ((await guestfish.attempt("vfs-type", device))?.trim() !== "crypto_LUKS") continue;
    const uuid = (await guestfish.run("luks-uuid", device)).trim().toLowerCase();
    // As virt-v2v 2.2 names it; what was written with this name in it is then understood.
    const name = `crypt${device.replace("/dev/", "").replaceAll(/[^a-z0-9]/gi, "")}`;
    await open(
      guestfish,
      device,
      name,
      keys.filter((key) => key.uuid === uuid),
    );
    opened.set(`/dev/mapper/${name}`, uuid);
  }
  await guestfish.attempt("lvm-scan", "true");
  return opened;
}

async function open(
  guestfish: Guestfish,
  device: string,
  name: string,
  keys: readonly LuksKey[],
): Promise<void> {
  for (const { file } of keys) {
    const [line = ""] = (await readFile(file, "latin1")).split("\n", 1);
    try {
      return await guestfish.runWithKey(
        Buffer.from(line, "latin1"),
        "cryptsetup-open",
        device,
        name,
      );
    } catch (error) {
      if (!(error instanceof GuestfishError)) throw error;
    }
  }
  throw new MigratekitError("guest-encrypted", `no key that was given opens LUKS on ${device}`);
}
