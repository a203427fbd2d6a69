// What check says of the certificates of nbds:// targets, shown by real servers over real TLS.

import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { certificateFindings } from "../../../src/migration/check/certificates.ts";
import type { NbdServer } from "../../lab/nbd-server.ts";
import { createVolume, startNbdServer, startQemuNbd } from "../../lab/targets.ts";
import { makeNbdCertificates, type NbdCertificates } from "../../lab/tls.ts";
import { tempDir } from "../../temp-dir.ts";

const servers = {
  "nbd-server": (folder: string, file: string, tls: NbdCertificates) =>
    startNbdServer({ exports: [{ name: "disk", file }], folder, tls }),
  "qemu-nbd": (_: string, file: string, tls: NbdCertificates) =>
    startQemuNbd({ file, exportName: "disk", tls }),
};

async function findingsOf(
  server: NbdServer,
  { clientDir }: NbdCertificates,
): Promise<(readonly [string, string])[]> {
  const uri = `nbds://localhost:${server.port}/disk`;
  // Two disks of one server are told of once.
  const endpoints = [{ uri }, { uri: `${uri}-2` }].map((each) => ({
    ...each,
    tlsCertDir: clientDir,
  }));
  const found = await certificateFindings(endpoints, AbortSignal.timeout(60_000));
  return found.map(({ level, code, message }) => [code ?? level, message]);
}

for (const [name, start] of Object.entries(servers)) {
  test(`${name}: a certificate that is valid for long says nothing, one that ends soon or is over does`, async () => {
    await using dir = await tempDir();
    const file = join(dir.path, "volume");
    await createVolume(file, 2 ** 20);
    const cases = [
      { days: {}, expected: [] },
      {
        days: { server: 10 },
        expected: [["warning", /shows \(CN=server\) expires in (9|10) days/]],
      },
      {
        days: { server: -1 },
        expected: [["target-certificate", /shows \(CN=server\) expired on \d{4}/]],
      },
      {
        days: { client: 10 },
        expected: [["warning", /the client certificate .* \(CN=client\) expires in/]],
      },
    ] as const;
    for (const [index, { days, expected }] of cases.entries()) {
      // qemu-nbd does not start with a certificate that has expired.
      if (name === "qemu-nbd" && "server" in days && days.server < 0) continue;
      const tls = await makeNbdCertificates(join(dir.path, `tls-${index}`), days);
      await using server = await start(dir.path, file, tls);
      const found = await findingsOf(server, tls);
      assert.equal(found.length, expected.length, JSON.stringify(found));
      for (const [at, [level, message]] of expected.entries()) {
        assert.equal(found[at]?.[0], level);
        assert.match(found[at]?.[1] ?? "", message);
      }
    }
  });
}

test("a greeting that comes in pieces, and one of somebody else, are waited for and told of", async () => {
  let greeting = "NBDMAGICIHAVEOPT";
  const server = createServer((client) => {
    client.on("error", () => {});
    client.write(greeting.slice(0, 5), () =>
      setImmediate(() => client.end(`${greeting.slice(5)}\0\x01`)),
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const ask = async () => {
    const uri = `nbds://127.0.0.1:${port}/disk`;
    const [finding] = await certificateFindings([{ uri }], AbortSignal.timeout(60_000));
    return finding?.message ?? "";
  };
  try {
    assert.match(await ask(), /could not be seen: the server hung up/);
    greeting = "SSH-2.0-OpenSSH_";
    assert.match(await ask(), /could not be seen: it is no NBD server/);
  } finally {
    server.close();
  }
});

test("where a target has no TLS nobody is asked, and a server without it is told of", async () => {
  await using dir = await tempDir();
  const file = join(dir.path, "volume");
  await createVolume(file, 2 ** 20);
  await using server = await startQemuNbd({ file, exportName: "disk" });
  const ask = (uri: string) => certificateFindings([{ uri }], AbortSignal.timeout(60_000));
  assert.deepEqual(await ask(server.uri), []);
  const [finding] = await ask(`nbds://localhost:${server.port}/disk`);
  assert.equal(finding?.level, "warning");
  assert.match(finding?.message ?? "", /could not be seen: the server does not offer TLS/);
});
