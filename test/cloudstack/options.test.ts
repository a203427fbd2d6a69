// What the flags for CloudStack take, and what they say of anything else.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  aliveProbe,
  autoOrUuid,
  cloudStackUrl,
  cloudStackVolumes,
  hostLabel,
  InvalidValue,
  networkMappings,
  type Parser,
} from "../../src/option-types.ts";

const id = "8d1f7a52-3c14-4f6e-9a0b-0123456789ab";
const other = "8d1f7a52-3c14-4f6e-9a0b-0123456789ac";

function refused<T>(parse: Parser<T>, text: string, message: RegExp): void {
  assert.throws(
    () => parse(text),
    (error) => error instanceof InvalidValue && message.test(error.message),
    text,
  );
}

test("volumes are created, or given by disk and id, each once", () => {
  assert.equal(cloudStackVolumes("create"), "create");
  const volumes = cloudStackVolumes(`2000:${id.toUpperCase()}, disk-2001:${other}`);
  assert.deepEqual(
    [...(volumes as Map<number, string>)],
    [
      [2000, id],
      [2001, other],
    ],
  );
  refused(cloudStackVolumes, "make", /has "make"; it takes create, or KEY:ID/);
  refused(cloudStackVolumes, "2000:8d1f", /has "8d1f"; it takes an id/);
  refused(cloudStackVolumes, `2000:${id},2000:${other}`, /disk 2000 twice/);
  refused(cloudStackVolumes, `2000:${id},2001:${id}`, /disks 2000 and 2001 the same volume/);
});

test("a port group goes to a network, with an address for the one before it", () => {
  assert.deepEqual(networkMappings("VM Network=lan,dmz=8d1f,ip=192.0.2.7,a%2Cb%3Dc=l2,ip=auto"), [
    { portGroup: "VM Network", network: "lan", ip: "keep" },
    { portGroup: "dmz", network: "8d1f", ip: "192.0.2.7" },
    { portGroup: "a,b=c", network: "l2", ip: "auto" },
  ]);
  assert.deepEqual(networkMappings("%69p=lan"), [{ portGroup: "ip", network: "lan", ip: "keep" }]);
  refused(networkMappings, "lan", /has "lan"; it takes PORTGROUP=NETWORK/);
  refused(networkMappings, "=lan", /takes PORTGROUP=NETWORK/);
  refused(networkMappings, "ip=auto", /has "ip=auto" before any/);
  refused(networkMappings, "a=b,ip=300.1.1.1", /has "ip=300\.1\.1\.1"; it takes ip=keep/);
  refused(networkMappings, "a=b,ip=keep,ip=auto", /two addresses for "a"/);
  refused(networkMappings, "a=b,a=c", /the port group "a" twice/);
});

test("a probe is the state, ARP or a port, at a host or where CloudStack put it", () => {
  assert.deepEqual(aliveProbe("state"), { kind: "state" });
  assert.deepEqual(aliveProbe("arp"), { kind: "arp" });
  assert.deepEqual(aliveProbe("tcp:22"), { kind: "tcp", port: 22 });
  assert.deepEqual(aliveProbe("tcp:web.example:443"), {
    ...{ kind: "tcp", host: "web.example", port: 443 },
  });
  assert.deepEqual(aliveProbe("tcp:[fd00::1]:22"), { kind: "tcp", host: "fd00::1", port: 22 });
  for (const text of ["tcp", "tcp:0", "tcp:70000", "tcp:fd00::1:22", "ping", "tcp:a b:1"])
    refused(aliveProbe, text, /it takes state, tcp:PORT, tcp:HOST:PORT or arp/);
});

test("the API's path may be left out, and an appliance is auto or an id", () => {
  assert.equal(cloudStackUrl("https://cloud.example/"), "https://cloud.example/client/api");
  assert.equal(cloudStackUrl("https://cloud.example:8443/x"), "https://cloud.example:8443/x");
  refused(cloudStackUrl, "cloud.example", /it takes a URL/);
  assert.equal(autoOrUuid("auto"), "auto");
  assert.equal(autoOrUuid(id), id);
  refused(autoOrUuid, "web01", /it takes an id/);
});

test("an instance's name is a host label", () => {
  assert.equal(hostLabel("web-01"), "web-01");
  for (const text of ["1web", "web_1", "web-", "a".repeat(64), ""])
    refused(hostLabel, text, /letters, digits and hyphens/);
});
