import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { MigratekitError } from "../../../src/errors.ts";
import { checkTargets } from "../../../src/nbd/target/check.ts";
import type { TargetToCheck } from "../../../src/nbd/target/look.ts";
import { prepareTargetTls } from "../../../src/nbd/target/tls.ts";
import { findFreePort } from "../../lab/ports.ts";
import { startForeground } from "../../lab/process.ts";
import { createVolume, startNbdServer, startQemuNbd } from "../../lab/targets.ts";
import { until } from "../../until.ts";
import { recordingLogger, run, Scratch } from "../vddk-fixture.ts";

const mib = 1024 * 1024;

function disk(uri: string, capacityBytes = 4 * mib, key = 2000): TargetToCheck {
  return { key, label: `Hard disk ${key - 1999}`, capacityBytes, endpoint: { uri } };
}

async function failureOf(targets: TargetToCheck[], timeoutMs = 10_000): Promise<MigratekitError> {
  const { logger } = recordingLogger();
  const error = await checkTargets(targets, { logger, timeoutMs }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof MigratekitError, String(error));
  assert.ok(!error.message.includes("\n"));
  return error;
}

test("good targets of both kinds of server are described by device key", async () => {
  await using scratch = await Scratch.make();
  const [a, b] = [join(scratch.dir, "a.raw"), join(scratch.dir, "b.raw")];
  await createVolume(a, 4 * mib);
  await createVolume(b, 5 * mib);
  await using nbdServer = await startNbdServer({
    exports: [{ name: "a", file: a }],
    folder: scratch.dir,
  });
  await using qemu = await startQemuNbd({ file: b, exportName: "vol/ü b" });
  const { logger, lines } = recordingLogger();
  const infos = await checkTargets(
    [disk(nbdServer.uriOf("a"), 4 * mib), disk(qemu.uriOf("vol/ü b"), 4 * mib, 2001)],
    { logger },
  );
  assert.equal(infos.get(2000)?.sizeBytes, 4 * mib);
  assert.equal(infos.get(2001)?.sizeBytes, 5 * mib);
  assert.deepEqual(lines, []);
});

test("a server that does not listen is unreachable", async () => {
  const error = await failureOf([disk(`nbd://127.0.0.1:${await findFreePort()}/x`)]);
  assert.equal(error.code, "target-unreachable");
  assert.match(error.message, /^nbd:\/\/127\.0\.0\.1:\d+\/x, the target of disk-2000/);
});

test("a host without an address is unreachable", async () => {
  const error = await failureOf([disk("nbd://no-such-host.invalid/x")]);
  assert.equal(error.code, "target-unreachable");
});

test("a server that stays silent, talks garbage or hangs up ends in time", async () => {
  for (const greeting of [undefined, "SSH-2.0-x\r\n".repeat(20), ""]) {
    const server = createServer((socket) => {
      socket.on("error", () => {});
      if (greeting !== undefined) socket.end(greeting);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    assert.ok(address && typeof address === "object");
    const error = await failureOf([disk(`nbd://127.0.0.1:${address.port}/x`)], 500);
    assert.ok(["target-unreachable", "target-refused"].includes(error.code), error.message);
    server.close();
  }
});

test("an export that the server does not have is refused, by both kinds of server", async () => {
  await using scratch = await Scratch.make();
  const file = join(scratch.dir, "a.raw");
  await createVolume(file, 4 * mib);
  await using nbdServer = await startNbdServer({
    exports: [{ name: "a", file }],
    folder: scratch.dir,
  });
  await using qemu = await startQemuNbd({ file, exportName: "b" });
  for (const uri of [nbdServer.uriOf("no such"), qemu.uriOf("no such")]) {
    const error = await failureOf([disk(uri)]);
    assert.equal(error.code, "target-refused", error.message);
    assert.match(error.message, /no%20such/);
  }
});

test("a target that is too small by one sector is refused with both sizes", async () => {
  await using scratch = await Scratch.make();
  const file = join(scratch.dir, "a.raw");
  await createVolume(file, 4 * mib - 512);
  await using qemu = await startQemuNbd({ file, exportName: "a" });
  const error = await failureOf([disk(qemu.uriOf("a"))]);
  assert.equal(error.code, "target-too-small");
  assert.match(error.message, /has 4\.0 MiB \(4193792 bytes\), which is 512 bytes less/);
  assert.match(error.message, /disk-2000 \(Hard disk 1, 4\.0 MiB\) with 4194304 bytes/);
  assert.deepEqual(error.context, {
    disk: "disk-2000",
    uri: qemu.uriOf("a"),
    capacityBytes: 4 * mib,
    sizeBytes: 4 * mib - 512,
  });
});

test("a read-only target is refused, by both kinds of server", async () => {
  await using scratch = await Scratch.make();
  const file = join(scratch.dir, "a.raw");
  await createVolume(file, 4 * mib);
  await using nbdServer = await startNbdServer({
    exports: [{ name: "a", file, readOnly: true }],
    folder: scratch.dir,
  });
  await using qemu = await startQemuNbd({ file, exportName: "a", readOnly: true });
  for (const uri of [nbdServer.uriOf("a"), qemu.uriOf("a")]) {
    assert.equal((await failureOf([disk(uri)])).code, "target-read-only");
  }
});

test("two names that lead to one server are found before anything is probed", async () => {
  await using scratch = await Scratch.make();
  await mkdir(join(scratch.dir, "real"));
  await symlink(join(scratch.dir, "real"), join(scratch.dir, "link"));
  await writeFile(join(scratch.dir, "real/s"), "");
  const socket = (dir: string) => `nbd+unix:///x?socket=${join(scratch.dir, dir, "s")}`;
  for (const [a, b] of [
    [socket("real"), socket("link")],
    ["nbd://127.0.0.1:9/x", "nbd://127.1:9/x"],
  ] as const) {
    const error = await failureOf([disk(a), disk(b, mib, 2001)]);
    assert.equal(error.code, "usage");
    assert.match(error.message, /disk-2000 \(.*\) and disk-2001 \(.*\) would both be written to/);
  }
});

test("one name for two exports is no conflict, and several failures are all logged", async () => {
  const port = await findFreePort();
  const { logger, lines } = recordingLogger();
  const targets = [disk(`nbd://localhost:${port}/a`), disk(`nbd://localhost:${port}/b`, mib, 2001)];
  await assert.rejects(checkTargets(targets, { logger }), { code: "target-unreachable" });
  assert.match(lines.map(({ msg }) => msg).join(), /localhost:\d+\/b.*disk-2001/);
});

test("data in the clear over a network is warned of, on loopback it is not", async () => {
  const cases: [uri: string, warns: boolean][] = [
    ["nbd://192.0.2.1/x", true],
    ["nbd://storage.invalid/x", true],
    ["nbds://storage.invalid/x", false],
    ["nbd://127.0.0.1:9/x", false],
    ["nbd://[::1]:9/x", false],
    ["nbd://localhost:9/x", false],
    ["nbd+unix:///x?socket=/no/such", false],
  ];
  for (const [uri, warns] of cases) {
    const { logger, lines } = recordingLogger();
    await checkTargets([disk(uri)], { logger, timeoutMs: 100 }).catch(() => {});
    const warned = lines.some(({ level, msg }) => level === 40 && /no TLS/.test(msg));
    assert.equal(warned, warns, uri);
  }
});

test("an abort ends the check with the signal's reason", async () => {
  const server = createServer(() => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  assert.ok(address && typeof address === "object");
  const abort = new AbortController();
  const { logger } = recordingLogger();
  const checking = checkTargets([disk(`nbd://127.0.0.1:${address.port}/x`)], {
    logger,
    signal: abort.signal,
  });
  abort.abort(new Error("interrupted"));
  await assert.rejects(checking, /interrupted/);
  server.close();
});

test("a target over TLS is reached with its CA given as a file, and not without", async () => {
  await using scratch = await Scratch.make();
  const { caFile, serverDir } = await makeCertificates(scratch.dir);
  const file = join(scratch.dir, "a.raw");
  await createVolume(file, 4 * mib);
  const port = await findFreePort();
  const tlsArgs = ["--tls=require", `--tls-certificates=${serverDir}`];
  const args = ["-f", "-i", "127.0.0.1", "-p", `${port}`, ...tlsArgs, "file", file];
  const server = await startForeground("nbdkit", args);
  try {
    await until("a server", () => server.output() !== "" || canConnect(port));
    const uri = `nbds://localhost:${port}/a`;
    const before = await tlsDirs();
    {
      await using tls = await prepareTargetTls({ caFile }, [uri]);
      const target = { ...disk(uri), endpoint: { uri, ...tls.endpointFields } };
      const { logger } = recordingLogger();
      const infos = await checkTargets([target], { logger });
      assert.equal(infos.get(2000)?.tls, true);
    }
    assert.deepEqual(await tlsDirs(), before);
    await using system = await prepareTargetTls({}, [uri]);
    const untrusted = await failureOf([
      { ...disk(uri), endpoint: { uri, ...system.endpointFields } },
    ]);
    assert.match(untrusted.message, /certificate verification/);
    assert.match(untrusted.remedy, /--nbd-tls-ca-file/);
    // libnbd would connect here and verify nothing.
    const emptyDir = { uri, tlsCertDir: scratch.dir };
    for (const endpoint of [{ uri }, emptyDir, { uri: `${uri}?tls-certificates=/no/such` }]) {
      const error = await failureOf([{ ...disk(uri), endpoint }]);
      assert.match(error.message, /could not be verified/);
    }
    await using tls = await prepareTargetTls({ caFile }, [uri]);
    const byAddress = uri.replace("localhost", "127.0.0.1");
    const misnamed = { uri: byAddress, ...tls.endpointFields };
    assert.match(
      (await failureOf([{ ...disk(byAddress), endpoint: misnamed }])).message,
      /certificate verification/,
    );
    const plain = await failureOf([disk(uri.replace("nbds", "nbd"))]);
    assert.match(plain.remedy, /nbds:\/\//);
  } finally {
    await server.stop();
  }
});

test("TLS options without a TLS target, and unreadable TLS files, are refused", async () => {
  await assert.rejects(prepareTargetTls({ pskFile: "/etc/hosts" }, ["nbd://h/x"]), {
    code: "usage",
    message: /no target is nbds/,
  });
  for (const options of [
    { caFile: "/no/ca" },
    { pskFile: "/no/k" },
    { certificatesDir: "/no/d" },
  ]) {
    await assert.rejects(prepareTargetTls(options, ["nbds://h/x"]), {
      code: "usage",
      message: /--nbd-tls-[\w-]+ \/no\/\w+ cannot be read/,
    });
  }
});

test("a client certificate is used beside the CA of another file", async () => {
  const dir = await mkdtemp(join(tmpdir(), "mk-nbd-"));
  await writeFile(join(dir, "ca.pem"), "the CA");
  await assert.rejects(
    prepareTargetTls({ caFile: join(dir, "ca.pem"), certificatesDir: dir }, ["nbds://h/x"]),
    /client-cert\.pem cannot be read/,
  );
  for (const name of ["client-cert.pem", "client-key.pem"]) await writeFile(join(dir, name), name);
  await using tls = await prepareTargetTls({ caFile: join(dir, "ca.pem"), certificatesDir: dir }, [
    "nbds://h/x",
  ]);
  const made = tls.endpointFields.tlsCertDir ?? "";
  assert.equal(await readFile(join(made, "ca-cert.pem"), "utf8"), "the CA");
  assert.equal(await readFile(join(made, "client-key.pem"), "utf8"), "client-key.pem");
  await run("rm", ["-r", dir]);
});

async function tlsDirs(): Promise<string[]> {
  return (await readdir(tmpdir())).filter((name) => name.startsWith("migratekit-tls-"));
}

async function canConnect(port: number): Promise<boolean> {
  return run("nbdinfo", ["--size", `nbd://127.0.0.1:${port}`]).then(
    () => true,
    (error: Error) => !/refused/.test(error.message),
  );
}

async function makeCertificates(dir: string) {
  const serverDir = join(dir, "server");
  await mkdir(serverDir);
  const [caFile, key] = [join(dir, "ca.pem"), join(dir, "ca.key")];
  const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const ca = ["-x509", "-days", "2", "-subj", "/CN=lab CA", "-keyout", key, "-out", caFile];
  await run("openssl", ["req", ...ec, ...ca]);
  const request = join(dir, "server.csr");
  const serverKey = join(serverDir, "server-key.pem");
  const csr = ["-subj", "/CN=localhost", "-keyout", serverKey, "-out", request];
  await run("openssl", ["req", ...ec, ...csr, "-addext", "subjectAltName=DNS:localhost"]);
  const sign = [
    "-in",
    request,
    "-CA",
    caFile,
    "-CAkey",
    key,
    "-days",
    "2",
    "-copy_extensions",
    "copy",
  ];
  await run("openssl", ["x509", "-req", ...sign, "-out", join(serverDir, "server-cert.pem")]);
  await run("cp", [caFile, join(serverDir, "ca-cert.pem")]);
  return { caFile, serverDir };
}

test("a target with a pre-shared key is reached as the user that the URI names", async () => {
  await using scratch = await Scratch.make();
  const file = join(scratch.dir, "a.raw");
  const pskFile = join(scratch.dir, "keys.psk");
  await createVolume(file, 4 * mib);
  await writeFile(pskFile, "mover:b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0\n", { mode: 0o600 });
  const port = await findFreePort();
  const tlsArgs = ["--tls=require", `--tls-psk=${pskFile}`];
  const args = ["-f", "-i", "127.0.0.1", "-p", `${port}`, ...tlsArgs, "file", file];
  const server = await startForeground("nbdkit", args);
  try {
    await until("a server", () => canConnect(port));
    const uri = `nbds://mover@localhost:${port}/a`;
    await using tls = await prepareTargetTls({ pskFile }, [uri]);
    const { logger } = recordingLogger();
    const target = { ...disk(uri), endpoint: { uri, ...tls.endpointFields } };
    assert.equal((await checkTargets([target], { logger })).get(2000)?.tls, true);
    const stranger = uri.replace("mover", "stranger");
    const refused = { ...disk(stranger), endpoint: { uri: stranger, ...tls.endpointFields } };
    assert.equal((await failureOf([refused])).code, "target-unreachable");
  } finally {
    await server.stop();
  }
});
