/** The one way that CloudStack's API knows a caller: an HMAC-SHA1 over the sorted, encoded, lower-cased request. */

import { createHmac, timingSafeEqual } from "node:crypto";

/** java.net.URLEncoder, with a space as %20: it leaves `*`, and escapes `! ' ( ) ~`. */
export function javaEncode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()~]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** What is signed: names as they came, sorted by code unit; values encoded; all of it in lower case. */
export function signedText(parameters: ReadonlyMap<string, string>): string {
  return [...parameters]
    .filter(([name]) => name.toLowerCase() !== "signature")
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([name, value]) => `${name}=${javaEncode(value)}`)
    .join("&")
    .toLowerCase();
}

export function signatureOf(parameters: ReadonlyMap<string, string>, secretKey: string): string {
  return createHmac("sha1", secretKey).update(signedText(parameters)).digest("base64");
}

/** @returns why the request is not to be believed, for the log: the caller only hears 401 */
export function whyUnverified(
  parameters: ReadonlyMap<string, string>,
  secretKeyOf: (apiKey: string) => string | undefined,
  nowMs = Date.now(),
): string | undefined {
  const byName = new Map([...parameters].map(([name, value]) => [name.toLowerCase(), value]));
  const signature = byName.get("signature");
  const apiKey = byName.get("apikey");
  if (!signature || !apiKey) return "no signature or no API key";
  if (byName.get("signatureversion") === "3") {
    const expiresMs = timeOf(byName.get("expires"));
    if (expiresMs === undefined) return "no time in expires";
    if (expiresMs < nowMs) return "expired";
  }
  const secretKey = secretKeyOf(apiKey);
  if (secretKey === undefined) return "no such key, or its account is disabled";
  const expected = Buffer.from(signatureOf(parameters, secretKey));
  const given = Buffer.from(signature);
  const equal = expected.length === given.length && timingSafeEqual(expected, given);
  return equal ? undefined : "wrong signature";
}

/** `2026-11-27T04:05:06+0000`, with `+00:00` or `Z` as well. */
function timeOf(text: string | undefined): number | undefined {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:?\d\d)$/.exec(text ?? "");
  if (!match) return undefined;
  const [, time = "", zone = ""] = match;
  const offset = zone === "Z" ? zone : `${zone.slice(0, 3)}:${zone.slice(-2)}`;
  const ms = Date.parse(`${time}${offset}`);
  return Number.isNaN(ms) ? undefined : ms;
}
