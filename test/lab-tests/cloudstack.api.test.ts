import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startCloudStack } from "../lab/cloudstack/cloudstack.ts";
import { RawClient } from "./cloudstack-client.ts";

test("a request is signed over sorted, encoded, lower-cased parameters, by GET and by POST", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const { apiKey, secretKey } = cloud.account();
  // By hand, so that no encoder of ours has a part in it; this name has all that URLEncoder does its own way.
  const keyword = "%61*%28b%29%21%27%7E%20c%2Bd%26e";
  const plain = `apikey=${apiKey}&command=listZones&keyword=${keyword}&response=json`;
  const signature = createHmac("sha1", secretKey).update(plain.toLowerCase()).digest("base64");
  // %61 is what nobody writes; the server encodes what it understood, so this one must not be believed.
  const query = `${plain}&signature=${encodeURIComponent(signature)}`;
  assert.equal((await fetch(`${cloud.url}?${query}`)).status, 401);
  const signable = plain.replace("%61", "a");
  const right = createHmac("sha1", secretKey).update(signable.toLowerCase()).digest("base64");
  const body = `${signable}&signature=${encodeURIComponent(right)}`;
  assert.equal((await fetch(`${cloud.url}?${body}`)).status, 200);
  const form = { "Content-Type": "application/x-www-form-urlencoded" };
  const posted = await fetch(cloud.url, { method: "POST", body, headers: form });
  assert.deepEqual([posted.status, await posted.json()], [200, { listzonesresponse: {} }]);
});

test("a wrong, an expired and an unknown signature are 401, and which it was is not told", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  const expires = (inSeconds: number) => ({
    ...{ signatureVersion: "3" },
    expires: new Date(Date.now() + inSeconds * 1000).toISOString().replace(/\.\d+Z/, "+0000"),
  });
  assert.equal((await client.send("listZones", expires(60))).status, 200);
  const texts = new Set<unknown>();
  const wrong = client.signed("listZones");
  wrong.set("response", "xml");
  for (const body of [
    client.signed("listZones", expires(-60)),
    client.signed("listZones", { signatureVersion: "3" }),
    client.signed("listZones", { ...expires(60), expires: "soon" }),
    client.signed("listZones", { apiKey: "nobody" }),
    new URLSearchParams({ command: "listZones", response: "json" }),
  ]) {
    const response = await fetch(cloud.url, { method: "POST", body });
    assert.equal(response.status, 401);
    const { listzonesresponse } = (await response.json()) as Record<
      string,
      Record<string, unknown>
    >;
    texts.add(listzonesresponse?.errortext);
  }
  assert.equal((await fetch(cloud.url, { method: "POST", body: wrong })).status, 401);
  assert.deepEqual([...texts], ["unable to verify user credentials and/or request signature"]);
});

test("an unknown command, one of an administrator and one that was taken away are 432", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  await assert.rejects(client.run("listNonsense"), /^Error: 432/);
  await assert.rejects(client.run("listHypervisorCapabilities"), /^Error: 432/);
  const admin = new RawClient(cloud, "admin");
  const [kvm] = await admin.list("listHypervisorCapabilities");
  assert.equal(kvm!.maxdatavolumeslimit, 13);
  const apis = await client.list("listApis");
  assert.ok(apis.some(({ name, isasync }) => name === "attachVolume" && isasync === true));
  assert.ok(!apis.some(({ name }) => name === "listHypervisorCapabilities"));
  cloud.account().deniedCommands = ["deployVirtualMachine"];
  await assert.rejects(client.run("deployVirtualMachine"), /^Error: 432/);
});

test("lists come in pages, with the count of all", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  for (const name of ["a", "b", "c"]) await client.volume(name);
  const page = async (page: number) =>
    client.run("listVolumes", { ...{ page: String(page), pagesize: "2", type: "DATADISK" } });
  const names = (answer: Record<string, unknown>) =>
    (answer.volume as { name: string }[]).map(({ name }) => name);
  const first = await page(1);
  assert.deepEqual([first.count, names(first)], [3, ["a", "b"]]);
  const second = await page(2);
  assert.deepEqual([second.count, names(second)], [3, ["c"]]);
  assert.deepEqual(await page(3), {});
  await assert.rejects(client.run("listVolumes", { page: "1", pagesize: "501" }), /431/);
});

test("too many calls are 429, and the limit is told beforehand", async () => {
  await using cloud = await startCloudStack({
    ...{ boots: false, apiLimit: { max: 3, intervalSeconds: 1 } },
  });
  const client = new RawClient(cloud);
  const { capability } = await client.run("listCapabilities");
  assert.equal((capability as { apilimitmax: number }).apilimitmax, 3);
  await client.run("listZones");
  await client.run("listZones");
  await assert.rejects(client.run("listZones"), /429: .*please retry after \d+ ms/);
  await sleep(1_050);
  await client.run("listZones");
});

test("the log has every call, without keys, signatures and secrets", async () => {
  await using cloud = await startCloudStack({ boots: false });
  const client = new RawClient(cloud);
  await client.volume("one");
  const { calls } = cloud.calls;
  assert.deepEqual(
    cloud.calls.changes().map(({ command }) => command),
    ["createVolume"],
  );
  const text = JSON.stringify(calls);
  const { apiKey, secretKey } = cloud.account();
  assert.ok(!text.includes(apiKey) && !text.includes(secretKey) && !/signature"/i.test(text));
  assert.deepEqual([calls[0]!.account, calls[0]!.outcome], ["operator", 200]);
});

test("the account knows what it has and what it may have", async () => {
  await using cloud = await startCloudStack({ boots: false, limits: { volume: 7 } });
  const client = new RawClient(cloud);
  await client.volume("one", 3);
  const [account] = await client.list("listAccounts");
  assert.deepEqual(
    [account!.vmtotal, account!.volumetotal, account!.volumelimit, account!.volumeavailable],
    [1, 2, "7", "5"],
  );
  assert.deepEqual([account!.primarystoragetotal, account!.cpulimit], [7, "Unlimited"]);
  const limits = await client.list("listResourceLimits", { resourcetype: "2" });
  assert.deepEqual(
    limits.map(({ resourcetypename, max }) => [resourcetypename, max]),
    [["volume", 7]],
  );
});
