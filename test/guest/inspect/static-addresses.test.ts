import assert from "node:assert/strict";
import { test } from "node:test";
import { planStaticAddresses } from "../../../src/guest/inspect/static-addresses.ts";

const one = {
  ...{ address: "192.0.2.7", mask: "255.255.255.0", gateway: "192.0.2.1" },
  nameServers: ["192.0.2.53", "192.0.2.54"],
};
const two = { address: "198.51.100.7", mask: "255.255.252.0", nameServers: [] };
const nic = (mac: string, ...addresses: string[]) => ({ mac, addresses });

const texts = (plan: ReturnType<typeof planStaticAddresses>) =>
  plan.findings.map(({ text }) => text);

test("the address of the only card is told by its MAC, with gateway, length and name servers", () => {
  assert.deepEqual(planStaticAddresses([one], [nic("00:50:56:00:00:01")]), {
    macs: ["00:50:56:00:00:01:ip:192.0.2.7,192.0.2.1,24,192.0.2.53,192.0.2.54"],
    findings: [],
  });
});

test("of several cards each gets the address that VMware Tools told of it", () => {
  const other = { ...two, gateway: "198.51.100.1" };
  const nics = [
    nic("00:50:56:00:00:01", "fe80::1", "198.51.100.7/22"),
    nic("00:50:56:00:00:02", "192.0.2.7"),
    nic("00:50:56:00:00:03", "203.0.113.9"),
  ];
  assert.deepEqual(planStaticAddresses([one, other], nics).macs, [
    "00:50:56:00:00:02:ip:192.0.2.7,192.0.2.1,24,192.0.2.53,192.0.2.54",
    "00:50:56:00:00:01:ip:198.51.100.7,198.51.100.1,22",
  ]);
});

test("what cannot be kept is to be looked at: a card that nobody told of, an address without a gateway", () => {
  const nics = [nic("00:50:56:00:00:01"), nic("00:50:56:00:00:02", "198.51.100.7")];
  const plan = planStaticAddresses([one, two], nics);
  assert.deepEqual(plan.macs, []);
  assert.deepEqual(texts(plan), [
    "the static address 192.0.2.7/24 has to be set by hand: which network card has it is not known",
    "the static address 198.51.100.7/22 has to be set by hand: it has no gateway",
  ]);
  assert.ok(plan.findings.every(({ level }) => level === "look"));
});
