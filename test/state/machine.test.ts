import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { State } from "../../src/state/state.ts";
import { refusal, temporaryDirectory, vm } from "./helpers.ts";

const nic = { mac: "00:50:56:00:00:07", network: "Front", addresses: ["192.0.2.7"] };
const hardware = {
  name: "web 1",
  firmware: "uefi" as const,
  secureBoot: true,
  cpus: 4,
  memoryMiB: 8192,
  guestId: "debian12_64Guest",
  nics: [nic],
  bootDiskKey: 2001,
};

test("what a VM is made of is found again as it was written last", (t) => {
  using state = State.open(temporaryDirectory(t));
  assert.equal(state.machines.readHardware(vm), undefined);
  state.machines.writeHardware(vm, hardware);
  assert.deepEqual(state.machines.readHardware(vm), hardware);
  assert.equal(state.machines.readHardware({ ...vm, instanceUuid: "another" }), undefined);
  const { guestId: _, bootDiskKey: __, ...less } = { ...hardware, cpus: 2 };
  state.machines.writeHardware(vm, less);
  assert.deepEqual(state.machines.readHardware(vm), less);
});

test("a card keeps its addresses while the VM is off, and another card has none of them", (t) => {
  using state = State.open(temporaryDirectory(t));
  state.machines.writeHardware(vm, hardware);
  const other = { mac: "00:50:56:00:00:08", addresses: [] };
  state.machines.writeHardware(vm, { ...hardware, nics: [{ ...nic, addresses: [] }, other] });
  assert.deepEqual(state.machines.readHardware(vm)?.nics, [nic, other]);
  state.machines.writeHardware(vm, { ...hardware, nics: [{ ...nic, addresses: ["192.0.2.9"] }] });
  assert.deepEqual(state.machines.readHardware(vm)?.nics, [{ ...nic, addresses: ["192.0.2.9"] }]);
});

test("a description of another form is damage, not a machine", (t) => {
  for (const text of ["{", '"x"', '{"name":"x"}', JSON.stringify({ ...hardware, nics: [{}] })]) {
    const dir = temporaryDirectory(t);
    using state = State.open(dir);
    state.machines.writeHardware(vm, hardware);
    state.close();
    const db = new DatabaseSync(join(dir, "migratekit.db"));
    db.prepare("UPDATE hardware SET description = ?").run(text);
    db.close();
    using again = State.open(dir);
    assert.match(
      refusal(() => again.machines.readHardware(vm)).message,
      /made of|column description/,
    );
  }
});
