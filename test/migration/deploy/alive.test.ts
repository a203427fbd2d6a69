import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { parseArpTable } from "../../../src/migration/deploy/alive.ts";
import { lookFor } from "./fixtures/look-for.ts";

const run = promisify(execFile);
const fixture = join(import.meta.dirname, "fixtures/look-for-card.ts");
const machine = { mac: "00:50:56:00:aa:01", ip: "192.0.2.70" };

async function lookForCard(station: { mac: string; ip: string }): Promise<string> {
  const asRoot = process.getuid?.() === 0 ? [] : ["--map-root-user"];
  const words = [machine.mac, machine.ip, station.mac, station.ip];
  const node = [process.execPath, "--disable-warning=ExperimentalWarning", fixture, ...words];
  return (await run("unshare", [...asRoot, "--net", ...node])).stdout;
}

test("arp: alive when the machine's own card answers at its address", async () => {
  assert.equal(await lookForCard(machine), "192.0.2.70 is the card 00:50:56:00:aa:01");
});

test("arp: another card at its address is not the machine, nor is silence", async () => {
  const other = await lookForCard({ ...machine, mac: "00:50:56:00:aa:02" });
  const silence = await lookForCard({ ...machine, ip: "192.0.2.71" });
  for (const seen of [other, silence]) {
    assert.match(seen, /web01 was not seen alive within .*: no card of it answers on the networks/);
  }
});

test("tcp: alive when the port is open at its address or at a given host, not when it is refused", async () => {
  const server = createServer((socket) => socket.end()).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const here = { ...machine, ip: "127.0.0.1" };
  assert.equal(await lookFor({ kind: "tcp", port }, here), `127.0.0.1:${port} answers`);
  const given = { kind: "tcp", host: "localhost", port } as const;
  assert.equal(await lookFor(given, machine), `localhost:${port} answers`);
  server.close();
  await once(server, "close");
  const refused = await lookFor({ kind: "tcp", port }, here);
  assert.match(refused, new RegExp(`not seen alive.*127\\.0\\.0\\.1:${port} did not answer`));
  const { mac } = machine;
  assert.match(await lookFor({ kind: "tcp", port }, { mac }), /CloudStack knows no address of it/);
});

test("the addresses of cards are those that answered", () => {
  const table = `IP address       HW type     Flags       HW address            Mask     Device
192.0.2.7        0x1         0x2         00:50:56:00:00:01     *        eth0
192.0.2.8        0x1         0x0         00:50:56:00:00:02     *        eth0
`;
  assert.deepEqual([...parseArpTable(table)], [["00:50:56:00:00:01", "192.0.2.7"]]);
});
