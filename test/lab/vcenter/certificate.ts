/** A self-signed certificate for the simulator, made once per lab directory with the openssl command. */

import { execFile } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface LabCertificate {
  certificatePem: string;
  keyPem: string;
  /** Path of the certificate, for `--vmware-ca-file`. */
  certificatePath: string;
  /** `AA:BB:…`, 20 pairs; what VDDK wants. */
  sha1: string;
  /** `AA:BB:…`, 32 pairs. */
  sha256: string;
}

export async function labCertificate(directory: string): Promise<LabCertificate> {
  const certificatePath = path.join(directory, "certificate.pem");
  const keyPath = path.join(directory, "key.pem");
  if (!existsSync(certificatePath) || !existsSync(keyPath)) {
    await mkdir(directory, { recursive: true });
    const names = "subjectAltName=DNS:localhost,DNS:vcenter.lab,IP:127.0.0.1,IP:::1";
    await run("openssl", [
      ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650".split(" "),
      ...["-subj", "/O=migratekit lab/CN=vcenter.lab", "-addext", names],
      ...["-keyout", keyPath, "-out", certificatePath],
    ]);
  }
  const certificatePem = await readFile(certificatePath, "utf8");
  const parsed = new X509Certificate(certificatePem);
  return {
    certificatePem,
    keyPem: await readFile(keyPath, "utf8"),
    certificatePath,
    sha1: parsed.fingerprint,
    sha256: parsed.fingerprint256,
  };
}
