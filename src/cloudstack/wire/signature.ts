/**
 * CloudStack's signature, version 3 (its developers' guide, "Signing API requests"): the server sorts
 * the parameters, writes each value as Java's URLEncoder does, lowers the case of it all and wants
 * the HMAC-SHA1 of that. There is no other algorithm.
 */

import { createHmac } from "node:crypto";
import type { Secret } from "../../secret.ts";

/** Names are ASCII; values any text. */
export type Parameters = Readonly<Record<string, string>>;

export interface Keys {
  readonly apiKey: Secret;
  readonly secretKey: Secret;
}

/** The form to send, with key, expiry and signature. After `expiresMs` (of Unix time) it is refused. */
export function signedForm(parameters: Parameters, keys: Keys, expiresMs: number): string {
  const all = {
    ...parameters,
    response: "json",
    apiKey: keys.apiKey.reveal(),
    signatureVersion: "3",
    expires: `${new Date(expiresMs).toISOString().slice(0, 19)}+0000`,
  };
  const pairs = Object.entries(all).map(([name, value]) => `${encode(name)}=${encode(value)}`);
  return [...pairs, `signature=${encode(signatureOf(all, keys.secretKey))}`].join("&");
}

/** Base64; of everything that is sent but the signature itself. */
export function signatureOf(parameters: Parameters, secretKey: Secret): string {
  const names = Object.keys(parameters).sort();
  const text = names.map((name) => `${name}=${encode(parameters[name]!)}`).join("&");
  return createHmac("sha1", secretKey.reveal()).update(text.toLowerCase()).digest("base64");
}

/**
 * As Java's URLEncoder, with %20 for its plus: `encodeURIComponent` leaves five more characters than
 * Java. The server decodes and encodes anew, so one left unescaped breaks the signature.
 */
function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed()).replace(
    /[!'()~]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
