import assert from "node:assert/strict";
import { test } from "node:test";
import { judge, type Observations, rootWrittenBytes } from "../../../src/guest/boot/signs.ts";

const [first, second] = ["00:50:56:8a:10:01", "00:50:56:8a:10:02"];
const quiet = { kernel: false, up: undefined, deadEnd: undefined };
const nothing: Observations = {
  console: quiet,
  writtenBytes: 0,
  heard: [],
  macs: [first],
  restarts: 0,
  off: false,
};
const arp = (mac: string) => ({ kind: "arp" as const, mac, address: "192.0.2.10" });
const judged = (seen: Partial<Observations>) => judge({ ...nothing, ...seen });
const written = { writtenBytes: rootWrittenBytes };
const up = (how: "login" | "service") => ({ ...quiet, kernel: true, up: how });

test("nothing seen is no verdict, and more is waited for", () => {
  const { verdict, complete, reason } = judged({});
  assert.deepEqual({ verdict, complete }, { verdict: "unclear", complete: false });
  assert.match(reason, /no sign of life/);
});

test("a login, a written root and every card's address are all that can be seen", () => {
  const { verdict, complete, reason } = judged({
    console: up("login"),
    ...written,
    heard: [arp(first)],
  });
  assert.deepEqual({ verdict, complete }, { verdict: "boots", complete: true });
  assert.match(reason, /login.*root.*192\.0\.2\.10/);
});

test("a card that is silent is waited for, and does not change the verdict", () => {
  const seen = { console: up("login"), ...written, macs: [first, second], heard: [arp(first)] };
  assert.deepEqual(
    { ...judged(seen), reason: "" },
    { verdict: "boots", complete: false, reason: "" },
  );
  assert.equal(judged({ ...seen, heard: [arp(first), arp(second)] }).complete, true);
});

test("a guest without a console boots when its root is written and its card is heard", () => {
  assert.equal(judged({ ...written, heard: [arp(first)] }).verdict, "boots");
  assert.equal(judged({ ...written, heard: [{ kind: "dhcp", mac: first }] }).verdict, "boots");
});

test("a card alone is not enough, nor is a written root, nor a stranger's card", () => {
  assert.equal(judged({ heard: [arp(first)] }).verdict, "unclear");
  assert.match(judged(written).reason, /neither console nor network/);
  assert.equal(judged(written).verdict, "unclear");
  assert.equal(judged({ ...written, heard: [arp(second)] }).verdict, "unclear");
});

test("what boot loaders and a look at the disk write is no mounted root", () => {
  const seen = { heard: [arp(first)], writtenBytes: 4 * 65_536 };
  assert.equal(judged(seen).verdict, "unclear");
  assert.match(judged({ console: { ...quiet, kernel: true } }).reason, /kernel started/);
});

test("a dead end ends the wait, with its reason", () => {
  const deadEnd = { ...quiet, kernel: true, deadEnd: "the kernel panicked" };
  const { verdict, complete, reason } = judged({ console: deadEnd });
  assert.deepEqual([verdict, complete, reason], ["will-not-boot", true, "the kernel panicked"]);
});

test("a guest that starts again and again, or switches itself off, does not boot", () => {
  assert.equal(judged({ restarts: 3 }).verdict, "unclear");
  assert.equal(judged({ restarts: 4 }).verdict, "will-not-boot");
  assert.equal(judged({ off: true }).verdict, "will-not-boot");
});

test("a guest that labels its files starts once more, and boots all the same", () => {
  assert.equal(judged({ restarts: 1, console: up("service"), ...written }).verdict, "boots");
});
