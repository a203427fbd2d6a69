// Certificates for an export and its clients, as docs/cloudstack.md has them made.

import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Folders in `dir`: of the server, of a client of its authority, and of one that another authority signed. */
export async function makeTls(dir: string) {
  const folders = {
    server: join(dir, "server"),
    client: join(dir, "client"),
    stranger: join(dir, "stranger"),
  };
  for (const folder of Object.values(folders)) await mkdir(folder);
  const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const authority = async (name: string) => {
    const [key, cert] = [join(dir, `${name}.key`), join(dir, `${name}.pem`)];
    await run("openssl", [
      "req",
      "-x509",
      ...ec,
      "-days",
      "2",
      "-subj",
      `/CN=${name}`,
      "-keyout",
      key,
      "-out",
      cert,
    ]);
    return { key, cert };
  };
  const [own, other] = [await authority("own"), await authority("other")];
  const leaf = async (
    folder: string,
    kind: "server" | "client",
    by: { key: string; cert: string },
  ) => {
    const request = join(folder, "request");
    const key = join(folder, `${kind}-key.pem`);
    await run("openssl", [
      "req",
      ...ec,
      "-subj",
      "/CN=localhost",
      "-keyout",
      key,
      "-out",
      request,
      "-addext",
      "subjectAltName=DNS:localhost",
    ]);
    const sign = ["-CA", by.cert, "-CAkey", by.key, "-days", "2", "-copy_extensions", "copy"];
    await run("openssl", [
      "x509",
      "-req",
      "-in",
      request,
      ...sign,
      "-out",
      join(folder, `${kind}-cert.pem`),
    ]);
    await writeFile(join(folder, "ca-cert.pem"), await readFile(own.cert));
  };
  await leaf(folders.server, "server", own);
  await leaf(folders.client, "client", own);
  await leaf(folders.stranger, "client", other);
  return folders;
}
