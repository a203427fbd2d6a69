import assert from "node:assert/strict";
import { test } from "node:test";
import { StateDatabase } from "../../src/state/database/database.ts";
import { TrustStore } from "../../src/state/trust.ts";
import { refusal, temporaryDirectory } from "./helpers.ts";

const pin = Array(32).fill("AB").join(":");
const otherPin = Array(32).fill("CD").join(":");

test("a certificate is remembered per endpoint, however it is spelled", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const trust = new TrustStore(db);
  assert.equal(trust.readPin("vcenter"), undefined);
  trust.writePin("vcenter", pin.toLowerCase().replaceAll(":", ""));
  trust.writePin("VCENTER:443", pin);
  assert.equal(trust.readPin("vcenter:443"), pin);
  assert.equal(trust.readPin("vcenter:8443"), undefined);
});

test("another certificate never replaces the remembered one by itself", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const trust = new TrustStore(db);
  trust.writePin("vcenter", pin);
  const error = refusal(() => trust.writePin("vcenter", otherPin), "vsphere-certificate");
  assert.ok(error.message.includes(pin) && error.message.includes(otherPin));
  assert.equal(trust.readPin("vcenter"), pin);
});

test("what is no SHA-256 fingerprint is not remembered", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  assert.throws(() => new TrustStore(db).writePin("vcenter", "AB:CD"), /Not a SHA-256/);
});

test("a certificate that was verified otherwise takes the place of the remembered one", (t) => {
  using db = StateDatabase.open(temporaryDirectory(t));
  const trust = new TrustStore(db);
  trust.replacePin("vcenter", pin);
  assert.equal(trust.readPin("vcenter"), pin);
  trust.replacePin("VCENTER:443", otherPin);
  assert.equal(trust.readPin("vcenter"), otherPin);
});
