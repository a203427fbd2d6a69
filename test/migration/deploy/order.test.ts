import assert from "node:assert/strict";
import { test } from "node:test";
import { type FoundMapping, orderCards } from "../../../src/migration/deploy/network-cards.ts";
import { hostLabelOf } from "../../../src/migration/deploy/order.ts";
import { refusal } from "../../state/helpers.ts";

const uuid = "5029d1a4-6cf3-41c2-9a2e-0d1f6a2b7c11";
const lan = { id: "n1", name: "lan", type: "Shared" };
const backup = { id: "n2", name: "backup", type: "Isolated" };
const flat = { id: "n3", name: "flat", type: "L2" };
const front = {
  mac: "00:50:56:00:00:01",
  network: "Front",
  addresses: ["fe80::1", "192.0.2.7/24"],
};
const back = { mac: "00:50:56:00:00:02", network: "Back", addresses: [] };

function cards(nics: Parameters<typeof orderCards>[0], mappings: FoundMapping[]) {
  const notices: string[] = [];
  return { cards: orderCards(nics, mappings, (text) => notices.push(text)), notices };
}

test("cards keep their order and MACs, and the addresses that the mapping says", () => {
  const both = cards(
    [front, back],
    [
      { portGroup: "Back", network: backup, ip: "keep" },
      { portGroup: "Front", network: lan, ip: "keep" },
    ],
  );
  assert.deepEqual(both.cards, [
    { networkId: "n1", mac: front.mac, ip: "192.0.2.7" },
    { networkId: "n2", mac: back.mac },
  ]);
  assert.match(both.notices.join(), /no address of the card 00:50:56:00:00:02 .* one of backup/);
  const given = cards(
    [front, back],
    [
      { portGroup: "Front", network: lan, ip: "auto" },
      { portGroup: "Back", network: backup, ip: "198.51.100.9" },
    ],
  );
  assert.deepEqual(
    given.cards.map(({ ip }) => ip),
    [undefined, "198.51.100.9"],
  );
  assert.deepEqual(given.notices, []);
  const l2 = cards([front], [{ portGroup: "Front", network: flat, ip: "keep" }]);
  assert.deepEqual(l2.cards, [{ networkId: "n3", mac: front.mac }]);
});

test("a card whose port group has no network is refused, and two cards on one network; a MAC says it apart", () => {
  const mapping: FoundMapping = { portGroup: "Front", network: lan, ip: "keep" };
  const unmapped = refusal(() => cards([front, back], [mapping]), "usage");
  assert.match(unmapped.message, /card 00:50:56:00:00:02 of port group Back/);
  assert.match(unmapped.remedy, /--network 'Front=NETWORK' --network 'Back=NETWORK'/);
  const twin = { ...back, network: "Front" };
  const twice = refusal(() => cards([front, twin], [mapping]), "usage");
  assert.match(twice.message, /two cards, .*:01 and .*:02, on lan/);
  const apart: FoundMapping = { portGroup: twin.mac.toUpperCase(), network: backup, ip: "auto" };
  assert.deepEqual(
    cards([front, twin], [mapping, apart]).cards.map(({ networkId }) => networkId),
    ["n1", "n2"],
  );
});

test("a host label has what CloudStack takes, and the VM's own mark", () => {
  for (const [name, label] of [
    ["web01", "web01-5029d1"],
    ["Web 01 (prod)!", "web-01-prod-5029d1"],
    ["42-db", "db-5029d1"],
    ["日本", "vm-5029d1"],
    ["a".repeat(80), `${"a".repeat(56)}-5029d1`],
    [`${"a".repeat(55)}-b`, `${"a".repeat(55)}-5029d1`],
  ] as const) {
    assert.equal(hostLabelOf(name, uuid), label);
    assert.match(label, /^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/);
  }
});
