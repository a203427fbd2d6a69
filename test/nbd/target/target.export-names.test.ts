import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { probeExport } from "../../../src/nbd/copy-engine/copy-engine.ts";
import { nbdUri, parseNbdUri } from "../../../src/nbd/target/uri.ts";
import { findFreePort } from "../../lab/ports.ts";
import { startForeground } from "../../lab/process.ts";
import { until } from "../../until.ts";
import { run, Scratch } from "../vddk-fixture.ts";

const names = [
  "migration-vol-uuid",
  "a/b/c",
  "/leading/slash",
  "//two",
  "..",
  "../../etc",
  "a/./b",
  "trailing/",
  "with space and + plus",
  "100%25 %2f",
  "what?really=yes&no#fragment",
  "quotes'\"<>[]{}|\\^`",
  "user:pw@host:1",
  "comma,semicolon;",
  "ünïcode 磁盘 💾",
  "new\nline",
  "n".repeat(255),
  "",
];

test("an export name reaches a real server exactly as it is, whatever it holds", async () => {
  await using scratch = await Scratch.make();
  const port = await findFreePort();
  // This server's exports contain their own names.
  const args = ["-f", "-i", "127.0.0.1", "-p", `${port}`, "info", "mode=exportname"];
  const server = await startForeground("nbdkit", args);
  try {
    await until("a server", () => run("nbdinfo", [nbdUri("127.0.0.1", port, "x")]).catch(() => 0));
    for (const name of names) {
      const uri = nbdUri("127.0.0.1", port, name);
      assert.equal(parseNbdUri(uri).exportName, name);
      const copy = join(scratch.dir, "name");
      await run("nbdcopy", [uri, copy]);
      assert.equal(await readFile(copy, "utf8"), name, uri);
      assert.equal((await probeExport({ uri })).sizeBytes, Buffer.byteLength(name));
    }
  } finally {
    await server.stop();
  }
});
