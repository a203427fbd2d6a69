/** Whom the client trusts, and that an endpoint it does not trust has received nothing. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, describe, test } from "node:test";
import { promisify } from "node:util";
import { MigratekitError } from "../../../src/errors.ts";
import { normalizeThumbprint } from "../../../src/vmware/wire/certificate.ts";
import { type Leaf, makeCertificates } from "../certificates.ts";
import { startScripted } from "../scripted-endpoint.ts";

const made = makeCertificates();
after(() => made[Symbol.dispose]());

type Trust = NonNullable<
  Parameters<Awaited<ReturnType<typeof startScripted>>["connect"]>[0]
>["trust"];

describe("a certificate is accepted", () => {
  const cases: [string, Leaf, Trust, string][] = [
    ["with its SHA-1", made.selfSigned, { thumbprint: made.selfSigned.sha1 }, "thumbprint"],
    [
      "with its SHA-256 in lower case without colons",
      made.selfSigned,
      { thumbprint: made.selfSigned.sha256.replaceAll(":", "").toLowerCase() },
      "thumbprint",
    ],
    [
      "with the right pin although it is expired",
      made.expired,
      { thumbprint: made.expired.sha1 },
      "thumbprint",
    ],
    [
      "with the right pin although it carries another name",
      made.otherName,
      { thumbprint: made.otherName.sha256 },
      "thumbprint",
    ],
    ["under the CA file that signed it", made.valid, { caFile: made.caFile }, "ca"],
    ["on first use", made.selfSigned, {}, "first-use"],
    [
      "when it is the remembered one",
      made.selfSigned,
      { pinned: made.selfSigned.sha256 },
      "remembered",
    ],
    ["without any check when that was asked for", made.expired, { insecure: true }, "insecure"],
  ];
  for (const [title, leaf, trust, expected] of cases)
    test(title, async () => {
      await using endpoint = await startScripted(leaf);
      await using client = await endpoint.connect({ trust });
      assert.deepEqual(client.certificate, {
        sha1: leaf.sha1,
        sha256: leaf.sha256,
        trust: expected,
      });
    });

  test("under the system's CAs", async () => {
    await using endpoint = await startScripted(made.valid);
    const program = `
      import { pino } from "pino";
      import { VsphereClient } from "./src/vmware/vmware.ts";
      const client = await VsphereClient.connect({ host: "127.0.0.1", port: ${endpoint.port}, username: "u",
        password: "p", trust: {}, logger: pino({ level: "silent" }) });
      console.log(client.certificate.trust);
      await client.close();`;
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--input-type=module", "-e", program],
      {
        cwd: new URL("../../..", import.meta.url).pathname,
        env: { SSL_CERT_FILE: made.caFile },
      },
    );
    assert.equal(stdout.trim(), "system");
  });
});

describe("a certificate is refused, before any application byte,", () => {
  const wrongPin = "AB".repeat(20);
  const cases: [string, Leaf, Trust, RegExp][] = [
    [
      "with a wrong SHA-1",
      made.selfSigned,
      { thumbprint: wrongPin },
      /expected SHA-1 AB:AB.*seen SHA-1 /,
    ],
    [
      "with a wrong SHA-256",
      made.valid,
      { thumbprint: "CD".repeat(32) },
      /expected SHA-256 CD:CD.*seen SHA-256 /,
    ],
    [
      "with a wrong pin, whatever else would vouch for it",
      made.valid,
      { thumbprint: wrongPin, caFile: made.caFile, insecure: true, pinned: made.valid.sha256 },
      /expected SHA-1/,
    ],
    ["when another CA signed it", made.selfSigned, { caFile: made.caFile }, /not valid under/],
    [
      "when it is expired under its CA",
      made.expired,
      { caFile: made.caFile },
      /not valid under.*EXPIRED/i,
    ],
    [
      "when it carries another name under its CA",
      made.otherName,
      { caFile: made.caFile },
      /not valid under.*(ALTNAME|altnames)/i,
    ],
    [
      "when a CA file was given and only --vmware-insecure would let it pass",
      made.selfSigned,
      { caFile: made.caFile, insecure: true },
      /not valid under/,
    ],
    [
      "when it is not the remembered one",
      made.otherSelfSigned,
      { pinned: made.selfSigned.sha256 },
      /changed: remembered SHA-256 .*, seen SHA-256 /,
    ],
  ];
  for (const [title, leaf, trust, message] of cases)
    test(title, async () => {
      await using endpoint = await startScripted(leaf);
      await assert.rejects(endpoint.connect({ trust }), (error) => {
        assert.ok(error instanceof MigratekitError);
        assert.equal(error.code, "vsphere-certificate");
        assert.match(error.message, message);
        assert.equal(error.context.seenSha256, leaf.sha256);
        return true;
      });
      await endpoint.allClosed();
      assert.equal(endpoint.connections(), 1);
      assert.equal(endpoint.applicationBytes(), 0);
    });

  test("when it changes between two connections of a run on first use", async () => {
    await using endpoint = await startScripted(made.selfSigned);
    await using client = await endpoint.connect({ trust: {}, outageMs: 5_000 });
    const before = endpoint.applicationBytes();
    assert.ok(before > 0);
    endpoint.present(made.otherSelfSigned);
    await assert.rejects(client.snapshotTree("vm-1"), { code: "vsphere-certificate" });
    assert.equal(endpoint.applicationBytes(), before);
  });
});

test("a changed certificate's error says how to accept the new one", async () => {
  await using endpoint = await startScripted(made.otherSelfSigned);
  await assert.rejects(endpoint.connect({ trust: { pinned: made.selfSigned.sha256 } }), (error) => {
    assert.ok(error instanceof MigratekitError);
    assert.ok(error.message.includes(made.selfSigned.sha256));
    assert.ok(error.remedy.includes(`--vmware-thumbprint ${made.otherSelfSigned.sha256}`));
    return true;
  });
});

test("thumbprints are taken in the notations of common tools and nothing else", () => {
  const colons = Array(20).fill("0A").join(":");
  for (const notation of [
    colons,
    colons.toLowerCase(),
    "0A".repeat(20),
    `sha1:${colons}`,
    colons.replaceAll(":", " "),
  ])
    assert.equal(normalizeThumbprint(notation), colons);
  for (const wrong of ["", "0A", `${colons}:0A`, "0G".repeat(20), "0A".repeat(33)])
    assert.throws(() => normalizeThumbprint(wrong), { code: "usage" });
});

test("a missing or empty CA file is a usage error", async () => {
  await using endpoint = await startScripted(made.valid);
  for (const caFile of ["/nonexistent/ca.pem", "/dev/null"])
    await assert.rejects(endpoint.connect({ trust: { caFile } }), { code: "usage" });
  assert.equal(endpoint.connections(), 0);
});
