/** Throw-away certificates, made with openssl: a CA, leaves with one defect each, their fingerprints. */

import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

export interface Leaf {
  readonly key: string;
  readonly cert: string;
  readonly sha1: string;
  readonly sha256: string;
}

export interface Certificates extends Disposable {
  /** PEM file of the CA that signed `valid`, `expired` and `otherName`. */
  readonly caFile: string;
  readonly valid: Leaf;
  readonly expired: Leaf;
  readonly otherName: Leaf;
  readonly selfSigned: Leaf;
  readonly otherSelfSigned: Leaf;
}

export function makeCertificates(): Certificates {
  const directory = mkdtempSync(path.join(tmpdir(), "migratekit-certificates-"));
  const caFile = path.join(directory, "ca.pem");
  const caKey = path.join(directory, "ca.key");
  openssl(["req", "-x509", ...newKey(caKey), "-out", caFile, "-days", "2", "-subj", "/CN=Lab CA"]);

  const signed = (name: string, san: string, dates: readonly string[]): Leaf => {
    const file = (suffix: string) => path.join(directory, `${name}.${suffix}`);
    openssl(["req", ...newKey(file("key")), "-out", file("csr"), "-subj", `/CN=${name}`]);
    writeFileSync(file("ext"), `subjectAltName=${san}\nbasicConstraints=CA:FALSE\n`);
    const signing = ["-CA", caFile, "-CAkey", caKey, "-set_serial", String(serial++)];
    openssl([
      "x509",
      "-req",
      "-in",
      file("csr"),
      ...signing,
      ...dates,
      "-extfile",
      file("ext"),
      "-out",
      file("pem"),
    ]);
    return leaf(file("key"), file("pem"));
  };
  const selfSigned = (name: string): Leaf => {
    const key = path.join(directory, `${name}.key`);
    const cert = path.join(directory, `${name}.pem`);
    openssl(["req", "-x509", ...newKey(key), "-out", cert, "-days", "2", "-subj", `/CN=${name}`]);
    return leaf(key, cert);
  };
  let serial = 100;
  return {
    caFile,
    valid: signed("valid", "IP:127.0.0.1,DNS:localhost", ["-days", "2"]),
    // openssl 3.0 cannot sign for the past; a negative number of days can.
    expired: signed("expired", "IP:127.0.0.1", ["-days", "-1"]),
    otherName: signed("other-name", "DNS:vcenter.example.org", ["-days", "2"]),
    selfSigned: selfSigned("self-signed"),
    otherSelfSigned: selfSigned("other-self-signed"),
    [Symbol.dispose]() {
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function newKey(file: string): string[] {
  return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", file];
}

function openssl(args: readonly string[]): void {
  execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
}

function leaf(keyFile: string, certFile: string): Leaf {
  const cert = readFileSync(certFile, "utf8");
  const { fingerprint, fingerprint256 } = new X509Certificate(cert);
  return { key: readFileSync(keyFile, "utf8"), cert, sha1: fingerprint, sha256: fingerprint256 };
}
