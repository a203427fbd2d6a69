import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { signatureOf } from "../lab/cloudstack/api/signature.ts";
import { fixtureFile, type SignedRequest, signByClients } from "./cloudstack/vectors.ts";

const kept = JSON.parse(await readFile(fixtureFile, "utf8")) as SignedRequest[];

test("the signatures that are kept are what three clients sign today", async () => {
  assert.deepEqual(await signByClients(), kept);
});

test("the lab's server computes what the clients computed, but where they escape otherwise than Java", () => {
  const believed = kept.filter(({ parameters, signature }) => {
    return signatureOf(new Map(Object.entries(parameters)), "secret") === signature;
  });
  assert.deepEqual(
    believed,
    kept.filter(({ mistaken }) => mistaken === undefined),
  );
  const clients = new Set(believed.map(({ client }) => client));
  assert.deepEqual([...clients].sort(), ["cs", "go-cloudstack", "libcloud"]);
  assert.ok(kept.some(({ mistaken }) => mistaken === "escapes *"));
});
