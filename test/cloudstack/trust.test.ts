// Whom the connection to CloudStack's API trusts: real TLS, throw-away certificates.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, type TestContext, test } from "node:test";
import { pino } from "pino";
import { CloudStack } from "../../src/cloudstack/cloudstack.ts";
import { MigratekitError } from "../../src/errors.ts";
import { Secret } from "../../src/secret.ts";
import { tempDir } from "../temp-dir.ts";
import { type Leaf, makeCertificates } from "../vmware/certificates.ts";

const certificates = makeCertificates();
after(() => certificates[Symbol.dispose]());

async function serve(t: TestContext, leaf: Leaf) {
  let requests = 0;
  const server = createServer({ key: leaf.key, cert: leaf.cert }, (_, response) => {
    requests += 1;
    const zone = [{ id: "z", name: "zone1" }];
    response.end(JSON.stringify({ listzonesresponse: { count: 1, zone } }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const endpoint = `https://127.0.0.1:${(server.address() as AddressInfo).port}/client/api`;
  const zone = (trust: { caFile?: string; insecure?: boolean }) =>
    new CloudStack(
      { endpoint, apiKey: new Secret("key"), secretKey: new Secret("secret"), ...trust },
      { logger: pino({ level: "silent" }) },
    ).zone();
  return { zone, requests: () => requests };
}

function untrusted(error: unknown): boolean {
  assert.ok(error instanceof MigratekitError, String(error));
  assert.equal(error.code, "cloudstack-certificate", error.message);
  return true;
}

test("a certificate of the given authority is trusted, of none that is known it is not, before a byte is sent", async (t) => {
  const { zone, requests } = await serve(t, certificates.valid);
  await assert.rejects(zone({}), untrusted);
  assert.equal(requests(), 0);
  assert.equal((await zone({ caFile: certificates.caFile })).name, "zone1");
  assert.equal((await zone({ insecure: true })).name, "zone1");
});

test("one that is expired, for another host or of nobody is refused although the authority is given", async (t) => {
  for (const leaf of [certificates.expired, certificates.otherName, certificates.selfSigned]) {
    const { zone, requests } = await serve(t, leaf);
    await assert.rejects(zone({ caFile: certificates.caFile }), untrusted);
    assert.equal(requests(), 0);
  }
});

test("a file that holds no authority is named, before anything is asked", async (t) => {
  const { zone } = await serve(t, certificates.valid);
  await using dir = await tempDir();
  const file = join(dir.path, "ca.pem");
  writeFileSync(file, "nothing\n");
  for (const [caFile, why] of [
    [file, /it holds no PEM certificate/],
    [join(dir.path, "none"), /there is no such file/],
  ] as const) {
    assert.throws(
      () => zone({ caFile }),
      (error) =>
        error instanceof MigratekitError && error.code === "usage" && why.test(error.message),
    );
  }
});
