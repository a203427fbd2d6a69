/** The files that TLS to the target needs, in the one form in which libnbd takes them. */
import { constants } from "node:fs";
import { access, copyFile, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { MigratekitError } from "../../errors.ts";
import { fileProblem } from "../../file-problem.ts";
import type { NbdEndpoint } from "../copy-engine/copy-engine.ts";
import { parseNbdUri, usesTls } from "./uri.ts";

export interface TargetTlsOptions {
  /** --nbd-tls-ca-file (PEM); absent: the directory's ca-cert.pem, else the system's CAs. */
  readonly caFile?: string | undefined;
  /** --nbd-tls-certificates: a directory with client-cert.pem and client-key.pem. */
  readonly certificatesDir?: string | undefined;
  /** --nbd-tls-psk-file */
  readonly pskFile?: string | undefined;
}

/** To be spread into the endpoints of nbds:// targets; valid until disposed of. */
export interface TargetTls extends AsyncDisposable {
  readonly endpointFields: Pick<NbdEndpoint, "tlsCertDir" | "tlsPskFile">;
}

/** Debian and Ubuntu, then Fedora and its kin. */
const systemCaFiles = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/**
 * libnbd takes one directory with ca-cert.pem, client-cert.pem and client-key.pem, and verifies
 * nothing at all where it finds none (seen with 1.14). So every nbds:// target gets one: the
 * operator's, or a private one made for the run, with the CA given as a file or else the system's
 * CAs, and the key only linked.
 * @throws MigratekitError `usage` for a file that cannot be read, for want of any CA, or for options
 *   that no target uses: who gives them expects encryption
 */
export async function prepareTargetTls(
  options: TargetTlsOptions,
  uris: Iterable<string>,
): Promise<TargetTls> {
  const { caFile, certificatesDir, pskFile } = options;
  const given = [caFile, certificatesDir, pskFile].some((path) => path !== undefined);
  const used = [...uris].some((uri) => usesTls(parseNbdUri(uri)));
  if (given && !used) {
    throw new MigratekitError("usage", "TLS options were given, but no target is nbds://", {
      remedy: "Use nbds:// in --nbd-targets, or leave the --nbd-tls options out.",
    });
  }
  if (!used) return undisposable({});
  await requireReadable("--nbd-tls-psk-file", pskFile);
  await requireReadable("--nbd-tls-certificates", certificatesDir);
  await requireReadable("--nbd-tls-ca-file", caFile);
  const psk = pskFile === undefined ? {} : { tlsPskFile: resolve(pskFile) };
  if (pskFile !== undefined && caFile === undefined && certificatesDir === undefined) {
    return undisposable(psk);
  }
  const ownCa =
    certificatesDir !== undefined && (await exists(join(certificatesDir, "ca-cert.pem")));
  if (caFile === undefined && ownCa) {
    return undisposable({ ...psk, tlsCertDir: resolve(certificatesDir) });
  }
  return gather(caFile ?? (await systemCaFile()), certificatesDir, psk);
}

async function gather(
  caFile: string,
  certificatesDir: string | undefined,
  psk: Pick<NbdEndpoint, "tlsPskFile">,
): Promise<TargetTls> {
  const tlsCertDir = await mkdtemp(join(tmpdir(), "migratekit-tls-"));
  const remove = () => rm(tlsCertDir, { recursive: true, force: true });
  try {
    await copyFile(caFile, join(tlsCertDir, "ca-cert.pem"));
    if (certificatesDir !== undefined) await linkClientCertificate(certificatesDir, tlsCertDir);
  } catch (error) {
    await remove();
    throw error;
  }
  return { endpointFields: { ...psk, tlsCertDir }, [Symbol.asyncDispose]: remove };
}

function undisposable(endpointFields: TargetTls["endpointFields"]): TargetTls {
  return { endpointFields, [Symbol.asyncDispose]: async () => {} };
}

async function systemCaFile(): Promise<string> {
  for (const path of systemCaFiles) if (await exists(path)) return path;
  throw new MigratekitError("usage", "no CA is known that could vouch for an nbds:// target", {
    remedy: "Give --nbd-tls-ca-file, or install ca-certificates.",
  });
}

async function exists(path: string): Promise<boolean> {
  return access(path, constants.R_OK).then(
    () => true,
    () => false,
  );
}

async function linkClientCertificate(from: string, to: string): Promise<void> {
  for (const name of ["client-cert.pem", "client-key.pem"]) {
    await requireReadable("--nbd-tls-certificates", join(from, name));
    await symlink(resolve(from, name), join(to, name));
  }
}

async function requireReadable(flag: string, path: string | undefined): Promise<void> {
  if (path === undefined) return;
  await access(path, constants.R_OK).catch((error: unknown) => {
    throw new MigratekitError("usage", `${flag} ${path} cannot be read: ${fileProblem(error)}`, {
      cause: error,
    });
  });
}
