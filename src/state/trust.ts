import { MigratekitError } from "../errors.ts";
import type { StateDatabase } from "./database/database.ts";
import { normalEndpoint } from "./vm-identity.ts";

/**
 * Certificates remembered at first use, per endpoint. SHA-256 fingerprints, stored as upper-case
 * pairs with colons; given in any case, with or without colons.
 */
export class TrustStore {
  readonly #db: StateDatabase;

  constructor(db: StateDatabase) {
    this.#db = db;
  }

  readPin(endpoint: string): string | undefined {
    return this.#db.view("Reading the remembered certificate", () =>
      this.#db
        .get("SELECT sha256 FROM pin WHERE endpoint = ?", normalEndpoint(endpoint))
        ?.text("sha256"),
    );
  }

  /**
   * Remembers the certificate seen at first use. A different one that is already remembered
   * (another process was faster) is not replaced: that throws `vsphere-certificate`.
   */
  writePin(endpoint: string, sha256: string): void {
    const pin = normalFingerprint(sha256);
    const stored = this.#db.transaction("Remembering the certificate", () => {
      this.#db.run(
        `INSERT INTO pin (endpoint, sha256, remembered_at) VALUES (?, ?, ?)
         ON CONFLICT (endpoint) DO NOTHING`,
        normalEndpoint(endpoint),
        pin,
        new Date().toISOString(),
      );
      const sql = "SELECT sha256 FROM pin WHERE endpoint = ?";
      return this.#db.get(sql, normalEndpoint(endpoint))?.text("sha256");
    });
    if (stored !== pin) {
      throw new MigratekitError(
        "vsphere-certificate",
        `${endpoint} shows the certificate ${pin}, but ${stored} was remembered for it`,
      );
    }
  }

  /** Remembers a certificate that was verified by other means, in place of any other. */
  replacePin(endpoint: string, sha256: string): void {
    const pin = normalFingerprint(sha256);
    this.#db.transaction("Remembering the certificate", () =>
      this.#db.run(
        `INSERT INTO pin (endpoint, sha256, remembered_at) VALUES (?, ?, ?)
         ON CONFLICT (endpoint) DO UPDATE
         SET sha256 = excluded.sha256, remembered_at = excluded.remembered_at
         WHERE sha256 <> excluded.sha256`,
        normalEndpoint(endpoint),
        pin,
        new Date().toISOString(),
      ),
    );
  }
}

function normalFingerprint(sha256: string): string {
  const digits = sha256.replaceAll(":", "").toUpperCase();
  if (!/^[0-9A-F]{64}$/.test(digits)) throw new Error(`Not a SHA-256 fingerprint: ${sha256}`);
  return digits.match(/../g)!.join(":");
}
