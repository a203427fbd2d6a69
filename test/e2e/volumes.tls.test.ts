// CloudStack volumes over NBD with TLS, as the manual sets it up: no tunnel, certificates on both sides.

import assert from "node:assert/strict";
import { test } from "node:test";
import { makeTls } from "../migration/export/tls.ts";
import { tempDir } from "../temp-dir.ts";
import { startVolumesLab } from "./volumes-lab.ts";

test("volumes are reached by nbds where certificates are given, and not without them", async () => {
  await using dir = await tempDir();
  const tls = await makeTls(dir.path);
  const fill = { seed: 2, dataRatio: 0.5 };
  await using it = await startVolumesLab(
    [{ name: "tls01", disks: [{ capacityBytes: 2 << 20, fill }] }],
    { exportArgs: () => ["--listen-tls-certificates", tls.server] },
  );
  const vm = it.lab.vm("tls01");
  const withTls = ["--nbd-host", "localhost", "--nbd-tls-certificates", tls.client];
  const run = await it.run("migrate", vm, { extra: withTls });
  assert.equal(run.code, 0, run.stderr);
  await it.assertEqual(vm);
  // The certificate names localhost; by its address the server is not believed.
  const elsewhere = await it.run("migrate", vm, {
    extra: ["--nbd-host", "127.0.0.1", "--nbd-tls-certificates", tls.client],
  });
  assert.equal(elsewhere.code, 5, elsewhere.stderr);
  const plain = await it.run("check", vm);
  assert.equal(plain.code, 5, plain.stdout);
  assert.match(plain.stdout, /wants TLS/);
});
