/**
 * Trust in the endpoint's certificate. The decision is made on the finished TLS handshake, before the
 * connection is handed to HTTP, so a refused endpoint has not received one application byte.
 */

import { readFileSync } from "node:fs";
import {
  createSecureContext,
  getCACertificates,
  type SecureContext,
  type TLSSocket,
} from "node:tls";
import { MigratekitError, messageOf } from "../../errors.ts";
import { fileProblem } from "../../file-problem.ts";

export interface TrustOptions {
  /** SHA-1 or SHA-256 of the certificate, with or without colons. */
  readonly thumbprint?: string | undefined;
  /** PEM file; the certificate must chain to it and carry the endpoint's name. */
  readonly caFile?: string | undefined;
  readonly insecure?: boolean | undefined;
  /** SHA-256 remembered from the first use of this endpoint. */
  readonly pinned?: string | undefined;
}

export interface TrustedCertificate {
  /** Colon-separated upper-case pairs; VDDK takes this one. */
  readonly sha1: string;
  readonly sha256: string;
  /** What the trust rests on. `first-use`: nothing yet; the caller is to remember `sha256`. */
  readonly trust: "thumbprint" | "ca" | "system" | "remembered" | "first-use" | "insecure";
}

/** The rules for one endpoint for as long as a client lives. */
export class TrustPolicy {
  readonly secureContext: SecureContext;
  readonly #endpoint: string;
  readonly #options: TrustOptions;
  readonly #thumbprint: string | undefined;
  /** Set by the first connection; later ones of the same run are held to it on first use. */
  #accepted: TrustedCertificate | undefined;

  constructor(endpoint: string, options: TrustOptions) {
    this.#endpoint = endpoint;
    this.#options = options;
    this.#thumbprint = options.thumbprint && normalizeThumbprint(options.thumbprint);
    this.secureContext = createSecureContext({ ca: this.#authorities() });
  }

  /** The certificate of the newest accepted connection. */
  get accepted(): TrustedCertificate | undefined {
    return this.#accepted;
  }

  /** Throws `vsphere-certificate` when the peer is not to be trusted. Call after `secureConnect`. */
  judge(socket: TLSSocket): void {
    const certificate = socket.getPeerX509Certificate();
    if (!certificate) throw this.#refusal("it has none", {});
    const seen = { sha1: certificate.fingerprint, sha256: certificate.fingerprint256 };
    // The verdict of OpenSSL and of the name check, which rejectUnauthorized=false only leaves to us.
    const chainProblem = socket.authorized ? undefined : messageOf(socket.authorizationError);
    this.#accepted = { ...seen, trust: this.#trustIn(seen, chainProblem) };
  }

  #authorities(): string[] {
    if (this.#options.caFile) return readCaFile(this.#options.caFile);
    // Loading them takes 20 ms, for nothing where the thumbprint alone decides.
    return this.#thumbprint ? [] : getCACertificates("system");
  }

  #trustIn(seen: Fingerprints, chainProblem: string | undefined): TrustedCertificate["trust"] {
    const { caFile, insecure, pinned } = this.#options;
    if (this.#thumbprint) return this.#matchThumbprint(seen, this.#thumbprint);
    if (caFile) {
      if (chainProblem === undefined) return "ca";
      throw this.#refusal(`it is not valid under ${caFile}: ${chainProblem}`, seen, caFile);
    }
    if (chainProblem === undefined) return "system";
    if (insecure) return "insecure";
    const remembered = pinned ? normalizeThumbprint(pinned) : undefined;
    const expected = remembered ?? this.#accepted?.sha256;
    if (expected === undefined) return "first-use";
    if (expected === seen.sha256) return remembered ? "remembered" : "first-use";
    throw this.#refusal(
      `it changed: remembered SHA-256 ${expected}, seen SHA-256 ${seen.sha256}`,
      seen,
      expected,
      `If the host's certificate was really replaced, accept it by one run with --vmware-thumbprint ${seen.sha256}`,
    );
  }

  #matchThumbprint(seen: Fingerprints, expected: string): "thumbprint" {
    const hash = expected.length === sha1Length ? "sha1" : "sha256";
    if (seen[hash] === expected) return "thumbprint";
    const name = hash === "sha1" ? "SHA-1" : "SHA-256";
    throw this.#refusal(`expected ${name} ${expected}, seen ${name} ${seen[hash]}`, seen, expected);
  }

  #refusal(why: string, seen: Partial<Fingerprints>, expected?: string, remedy?: string) {
    return new MigratekitError(
      "vsphere-certificate",
      `the certificate of ${this.#endpoint} is not trusted: ${why}`,
      {
        context: {
          endpoint: this.#endpoint,
          seenSha1: seen.sha1,
          seenSha256: seen.sha256,
          expected,
        },
        ...(remedy === undefined ? {} : { remedy }),
      },
    );
  }
}

interface Fingerprints {
  readonly sha1: string;
  readonly sha256: string;
}

/** Length of twenty colon-separated pairs. */
const sha1Length = 59;

/** `AA:BB:…` from any common notation; throws `usage` unless it is a SHA-1 or SHA-256. */
export function normalizeThumbprint(thumbprint: string): string {
  const hex = thumbprint
    .replace(/^sha-?(1|256)[:= ]/i, "")
    .replace(/[\s:-]/g, "")
    .toUpperCase();
  if (!/^([0-9A-F]{40}|[0-9A-F]{64})$/.test(hex))
    throw new MigratekitError(
      "usage",
      `"${thumbprint.slice(0, 100)}" is no certificate thumbprint: 40 (SHA-1) or 64 (SHA-256) hexadecimal digits are expected`,
    );
  return hex.match(/../g)?.join(":") ?? "";
}

function readCaFile(caFile: string): string[] {
  try {
    const certificates = readFileSync(caFile, "utf8").match(
      /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g,
    );
    if (!certificates) throw new Error("it holds no PEM certificate");
    createSecureContext({ ca: certificates });
    return certificates;
  } catch (cause) {
    throw new MigratekitError("usage", `cannot use the CA file ${caFile}: ${fileProblem(cause)}`, {
      cause,
      remedy: "Give a readable PEM file with --vmware-ca-file.",
    });
  }
}
