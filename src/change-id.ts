/**
 * A change ID as ESXi makes it: 16 bytes in hex, grouped `xx xx … xx-xx … xx`, a slash and a
 * sequence number (e.g. `52 de c0 d9 … 6e-a2 … 08/7`).
 */
const changeIdPattern =
  /^(?:[0-9a-f]{2} ){7}[0-9a-f]{2}-(?:[0-9a-f]{2} ){7}[0-9a-f]{2}\/\d{1,19}$/i;

/** Upper or lower case; no spaces around it. */
export function isChangeId(text: string): boolean {
  return changeIdPattern.test(text);
}

/** UUID and sequence number of a change ID; only IDs of the same UUID can be compared. */
export function splitChangeId(changeId: string): { uuid: string; sequence: bigint } | undefined {
  if (!isChangeId(changeId)) return undefined;
  const slash = changeId.lastIndexOf("/");
  return {
    uuid: changeId.slice(0, slash).toLowerCase(),
    sequence: BigInt(changeId.slice(slash + 1)),
  };
}
