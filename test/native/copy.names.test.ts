/** Servers that are given by name: looking it up may take long, and holds nothing up. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Engine, probeExport } from "../../src/nbd/copy-engine/copy-engine.ts";
import { Random } from "../random.ts";
import { tempDir } from "../temp-dir.ts";
import { makeDirty } from "./images.ts";
import { sameBytes, startNbdkit, startNbdServer } from "./servers.ts";

const run = promisify(execFile);
const sizeBytes = 16 << 20;
const slowNames = fileURLToPath(new URL("tools/slow-names.c", import.meta.url));
const engineUrl = import.meta.resolve("../../src/nbd/copy-engine/copy-engine.ts");
const byName = (uri: string): string => uri.replace("127.0.0.1", "localhost");

test("a copy to a server given by name is exact", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeDirty(from, sizeBytes, new Random(1));
  await writeFile(to, Buffer.alloc(sizeBytes));
  const slow = ["-r", "--filter=delay", "file", from, "rdelay=50ms"];
  await using source = await startNbdkit(dir.path, ...slow);
  await using target = await startNbdServer(dir.path, to);
  using engine = new Engine({ memoryBytes: 4 << 20 });
  const result = await engine.copy({
    source,
    target: { uri: byName(target.uri), connections: 4 },
    capacityBytes: sizeBytes,
    requestBytes: 65536,
  });
  assert.ok(result.targetConnections > 1, "further ones were connected while it copied");
  assert.ok(await sameBytes(from, to, sizeBytes));
});

test("a name that does not exist is a server that cannot be reached", async () => {
  await assert.rejects(probeExport({ uri: "nbd://no-such-host.invalid:10809/" }), {
    code: "ENGINE_CONNECT",
    message: /getaddrinfo/,
  });
});

test("while the names of further connections are looked up, the copy goes on", async () => {
  await using dir = await tempDir();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await makeDirty(from, sizeBytes, new Random(2));
  await writeFile(to, Buffer.alloc(sizeBytes));
  const preload = join(dir.path, "slow-names.so");
  await run("gcc", ["-shared", "-fPIC", "-O1", slowNames, "-o", preload]);
  await using source = await startNbdkit(dir.path, "-r", "file", from);
  await using target = await startNbdServer(dir.path, to);
  const script = `
    const { Engine } = await import(${JSON.stringify(engineUrl)});
    using engine = new Engine();
    const result = await engine.copy({
      source: { uri: ${JSON.stringify(source.uri)}, connections: 1 },
      target: { uri: ${JSON.stringify(byName(target.uri))}, connections: 4 },
      capacityBytes: ${sizeBytes},
    });
    console.log(result.targetConnections);`;
  const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", script], {
    env: { ...process.env, LD_PRELOAD: preload },
  });
  // It was over before any of the three others had an address.
  assert.equal(stdout.trim(), "1");
  assert.ok(await sameBytes(from, to, sizeBytes));
});
