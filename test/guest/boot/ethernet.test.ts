import assert from "node:assert/strict";
import { test } from "node:test";
import { FrameCutter, readFrame } from "../../../src/guest/boot/ethernet.ts";

const mac = "00:50:56:8a:10:01";
const macBytes = mac.replaceAll(":", "");
const other = "525400123456";
const broadcast = "ffffffffffff";

const hex = (...parts: string[]) => Buffer.from(parts.join(""), "hex");
const arpHead = "0001" + "0800" + "06" + "04" + "0001";
/** 192.0.2.10 looks for 192.0.2.1. */
const request = hex(
  broadcast,
  macBytes,
  "0806",
  arpHead,
  macBytes,
  "c000020a",
  "000000000000",
  "c0000201",
);
const udp = (from: string, to: string) =>
  hex(
    broadcast,
    macBytes,
    "0800",
    `4500${"00".repeat(7)}11${"00".repeat(10)}`,
    from,
    to,
    "00000000",
  );

test("a question by ARP tells who asks, and by which address", () => {
  assert.deepEqual(readFrame(request), { kind: "arp", mac, address: "192.0.2.10" });
});

test("a probe before an address is taken tells the address that is wanted", () => {
  const probe = hex(
    broadcast,
    macBytes,
    "0806",
    arpHead,
    macBytes,
    "00000000",
    "000000000000",
    "c000020a",
  );
  assert.deepEqual(readFrame(probe), { kind: "arp", mac, address: "192.0.2.10" });
});

test("a tag of a VLAN before it does not hide it", () => {
  const tagged = Buffer.concat([request.subarray(0, 12), hex("81000064"), request.subarray(12)]);
  assert.deepEqual(readFrame(tagged), { kind: "arp", mac, address: "192.0.2.10" });
});

test("an answer in the name of another card is not the guest's", () => {
  assert.equal(
    readFrame(hex(broadcast, macBytes, "0806", arpHead, other, "c000020a", broadcast, "c0000201")),
    undefined,
  );
});

test("a question for an address by DHCP is heard, other datagrams are not", () => {
  assert.deepEqual(readFrame(udp("0044", "0043")), { kind: "dhcp", mac });
  assert.equal(readFrame(udp("0044", "0035")), undefined);
});

test("a frame that is cut off anywhere tells nothing, and does no harm", () => {
  for (const frame of [request, udp("0044", "0043")]) {
    // The last four bytes of the datagram are not looked at.
    for (let length = 0; length < Math.min(frame.length, 38); length += 1) {
      assert.equal(readFrame(frame.subarray(0, length)), undefined, `${length} bytes`);
    }
  }
});

test("a stream is cut into its frames, however it arrives", () => {
  const frames = [request, udp("0044", "0043"), hex("00")];
  const stream = Buffer.concat(
    frames.flatMap((frame) => {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(frame.length);
      return [length, frame];
    }),
  );
  for (const step of [1, 3, 7, stream.length]) {
    const cutter = new FrameCutter();
    const found: Buffer[] = [];
    for (let at = 0; at < stream.length; at += step) {
      found.push(...cutter.push(stream.subarray(at, at + step)));
    }
    assert.deepEqual(found, frames, `in steps of ${step}`);
  }
});

test("a stream that is out of step is given up, not kept in memory", () => {
  assert.throws(() => new FrameCutter().push(hex("ffffffff00")), RangeError);
});
