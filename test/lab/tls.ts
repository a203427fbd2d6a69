/** Certificates for NBD servers and their clients, made with openssl, in the folders in which they want them. */
import { execFile } from "node:child_process";
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

export interface NbdCertificates {
  readonly caFile: string;
  /** ca-cert.pem, server-cert.pem, server-key.pem; for localhost and 127.0.0.1. */
  readonly serverDir: string;
  /** ca-cert.pem, client-cert.pem, client-key.pem */
  readonly clientDir: string;
}

/** `days`: how long they are valid; 0 and less: expired. */
export async function makeNbdCertificates(
  folder: string,
  days: { server?: number; client?: number } = {},
): Promise<NbdCertificates> {
  const [serverDir, clientDir] = [join(folder, "server"), join(folder, "client")];
  await mkdir(serverDir, { recursive: true });
  await mkdir(clientDir, { recursive: true });
  const [caFile, caKey] = [join(folder, "ca.pem"), join(folder, "ca.key")];
  await run("openssl", [
    ...["req", "-x509", ...newKey, "-days", "3650", "-subj", "/CN=lab CA"],
    ...["-keyout", caKey, "-out", caFile],
  ]);
  const sign = async (dir: string, who: "server" | "client", validDays: number) => {
    const file = (suffix: string) => join(dir, `${who}-${suffix}.pem`);
    const [request, extensions] = [join(folder, `${who}.csr`), join(folder, `${who}.ext`)];
    await writeFile(extensions, "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
    const subject = ["-subj", `/CN=${who}`, "-keyout", file("key"), "-out", request];
    await run("openssl", ["req", ...newKey, ...subject]);
    await run("openssl", [
      ...["x509", "-req", "-in", request, "-CA", caFile, "-CAkey", caKey, "-CAcreateserial"],
      ...["-days", String(validDays), "-extfile", extensions, "-out", file("cert")],
    ]);
    await copyFile(caFile, join(dir, "ca-cert.pem"));
  };
  await sign(serverDir, "server", days.server ?? 365);
  await sign(clientDir, "client", days.client ?? 365);
  return { caFile, serverDir, clientDir };
}
