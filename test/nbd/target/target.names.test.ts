import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { type AddressInfo, createServer, type ListenOptions } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { targetNames } from "../../../src/nbd/target/names.ts";

async function listen(t: TestContext, options: ListenOptions): Promise<number> {
  const server = createServer().listen(options);
  await once(server, "listening");
  t.after(() => server.close());
  return (server.address() as AddressInfo).port ?? 0;
}

test("the loopback's names and spellings are one", async () => {
  for (const host of ["localhost", "LOCALHOST.", "127.0.0.1", "[::1]", "[0:0:0:0:0:0:0:1]"]) {
    const { lasting, passing } = await targetNames(`nbd://${host}/a`);
    assert.deepEqual(lasting, ["localhost:10809#a"], host);
    assert.deepEqual(passing, []);
  }
});

test("a name is also the addresses that it resolves to, and one that does not resolve is a name", async () => {
  const { lasting } = await targetNames("nbd://no-such-host.invalid:1234/a");
  assert.deepEqual(lasting, ["no-such-host.invalid:1234#a"]);
  const ipv6 = await targetNames("nbd://[2001:DB8:0:0::1]:1234/a");
  assert.deepEqual(ipv6.lasting, ["2001:db8::1:1234#a"]);
  const named = await targetNames("nbds://user@ip6-localhost:1234/a");
  assert.ok(named.lasting.includes("localhost:1234#a"));
});

test("addresses of this host are one where its server listens on all of them, and else are not", async (t) => {
  const everywhere = await listen(t, { port: 0, host: "0.0.0.0" });
  const one = await listen(t, { port: 0, host: "127.0.0.2" });
  assert.deepEqual((await targetNames(`nbd://127.0.0.2:${everywhere}/a`)).lasting, [
    `127.0.0.2:${everywhere}#a`,
    `localhost:${everywhere}#a`,
  ]);
  assert.deepEqual((await targetNames(`nbd://127.0.0.2:${one}/a`)).lasting, [`127.0.0.2:${one}#a`]);
});

test("a Unix socket is known by its real path for good, and by its inode while it is there", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "migratekit-names-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const [path, link] = [join(dir, "nbd.sock"), join(dir, "link.sock")];
  assert.deepEqual(await targetNames(`nbd+unix:///a?socket=${path}`), {
    lasting: [`unix:${path}#a`],
    passing: [],
  });
  await listen(t, { path });
  symlinkSync(path, link);
  const direct = await targetNames(`nbd+unix:///a?socket=${path}`);
  const linked = await targetNames(`nbd+unix:///a?socket=${link}`);
  assert.deepEqual(linked.lasting, [`unix:${link}#a`, `unix:${path}#a`]);
  assert.deepEqual(direct.lasting, [`unix:${path}#a`]);
  assert.deepEqual(direct.passing, linked.passing);
  assert.equal(direct.passing.length, 1);
});
