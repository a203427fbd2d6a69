import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";
import { type TestContext, test } from "node:test";
import { type ErrorCode, MigratekitError } from "../../src/errors.ts";
import { instance, ScriptedApi, type Sent, volume } from "./scripted-api.ts";

function fails(code: ErrorCode, message: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof MigratekitError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    assert.equal(error.exitCode, code === "usage" ? 2 : 10);
    return true;
  };
}

/** An API with volumes that can be created, attached and detached. */
async function withVolumes(t: TestContext) {
  const api = await ScriptedApi.start(t);
  const volumes: Record<string, unknown>[] = [];
  api.on("listDiskOfferings", () => ({
    diskoffering: [{ id: "o", name: "custom", iscustomized: true, disksize: 0 }],
  }));
  api.on("listVolumes", ({ id, name }) => ({
    count: volumes.length,
    volume: volumes.filter(
      (each) =>
        (id ?? each.id) === each.id && (name === undefined || String(each.name).includes(name)),
    ),
  }));
  const make = ({ name, size }: Sent) =>
    void volumes.push({ ...volume(`v${volumes.length}`), name, size: Number(size) << 30 });
  api.onWrite("createVolume", make);
  api.onWrite("createTags", ({ resourceids, ...sent }) => {
    const found = volumes.find(({ id }) => id === resourceids)!;
    found.tags = [{ key: sent["tags[0].key"], value: sent["tags[0].value"] }];
  });
  return { api, volumes, make };
}

const wanted = { name: "migratekit-web", sizeGiB: 3, diskOfferingId: "o", zoneId: "z" };

test("a list is read to its end, page by page", async (t) => {
  const api = await ScriptedApi.start(t);
  const all = Array.from({ length: 25 }, (_, n) => volume(`v${n}`, { virtualmachineid: "i" }));
  api.on("listVolumes", ({ page, pagesize }) => {
    const from = (Number(page) - 1) * Number(pagesize);
    return { count: all.length, volume: all.slice(from, from + Number(pagesize)) };
  });
  const found = await api.client({ pageSize: 10 }).volumesOf("i");
  assert.equal(found.length, 25);
  assert.deepEqual(
    api.sent("listVolumes").map(({ page }) => page),
    ["1", "2", "3"],
  );
});

test("an answer that is lost, too many requests and a proxy's error are outlasted by readings", async (t) => {
  const { api } = await withVolumes(t);
  const status = (code: number, headers = {}) => ({
    command: "listVolumes",
    fault: (response: import("node:http").ServerResponse) =>
      void response.writeHead(code, headers).end("<html>no</html>"),
  });
  api.faults.push(
    { command: "listVolumes", fault: "lost-before" },
    status(429, { "Retry-After": "0" }),
    status(503),
  );
  assert.equal(await api.client().volume("none"), undefined);
  assert.equal(api.sent("listVolumes").length, 4);
});

test("a volume is made once and found again by its name, with its tags", async (t) => {
  const { api, volumes } = await withVolumes(t);
  const client = api.client();
  const tags = { "migratekit-vm": "web" };
  volumes.push({ ...volume("other"), name: "migratekit-web-2" });
  const first = await client.createVolume({ ...wanted, tags });
  const again = await client.createVolume({ ...wanted, tags });
  assert.equal(again.id, first.id);
  assert.deepEqual(again.tags, tags);
  assert.equal(api.sent("createVolume").length, 1);
  assert.equal(api.sent("createVolume")[0]!.size, "3");
  assert.equal(api.sent("createTags").length, 1);
});

test("a createVolume whose answer is lost makes one volume, whether it was carried out or not", async (t) => {
  for (const fault of ["lost-after", "lost-before"] as const) {
    const { api, volumes } = await withVolumes(t);
    api.faults.push({ command: "createVolume", fault });
    const made = await api.client().createVolume(wanted);
    assert.equal(made.name, wanted.name);
    assert.equal(volumes.length, 1, fault);
    assert.equal(api.sent("createVolume").length, fault === "lost-after" ? 1 : 2);
  }
});

test("a lost createVolume that is carried out late is waited for, not asked for again", async (t) => {
  const { api, volumes, make } = await withVolumes(t);
  // The request lies somewhere, and is taken up when the volume has been looked for in vain.
  api.faults.push({ command: "createVolume", fault: "lost-before" });
  let looks = 0;
  const inVain = 3;
  api.on("listVolumes", () => {
    if (api.sent("createVolume").length === 1 && ++looks === inVain)
      make(api.sent("createVolume")[0]!);
    return { volume: volumes };
  });
  await api.client({ validMs: 60_000 }).createVolume(wanted);
  assert.equal(volumes.length, 1);
  assert.equal(api.sent("createVolume").length, 1);
});

test("a job that runs is awaited, and one that fails says why", async (t) => {
  const { api, volumes } = await withVolumes(t);
  volumes.push(volume("v") as Record<string, unknown>);
  api.on("attachVolume", () => ({ jobid: "j" }));
  let asked = 0;
  api.on("queryAsyncJobResult", () => {
    if (++asked < 4) return { jobstatus: 0 };
    return { jobstatus: 2, jobresult: { errorcode: 530, errortext: "Failed to attach: locked" } };
  });
  await assert.rejects(
    api.client().attachVolume("v", "i"),
    fails(
      "cloudstack-job-failed",
      /could not attach volume v to instance i: Failed to attach: locked/,
    ),
  );
  assert.equal(asked, 4);
  assert.equal(api.sent("attachVolume").length, 1, "what failed is not asked for again");
});

test("a job that failed and yet did what it should is no failure", async (t) => {
  const { api, volumes } = await withVolumes(t);
  volumes.push(volume("v") as Record<string, unknown>);
  api.on("attachVolume", () => {
    volumes[0] = volume("v", { virtualmachineid: "i", deviceid: 0 }) as Record<string, unknown>;
    return { jobid: "j" };
  });
  api.on("queryAsyncJobResult", () => ({ jobstatus: 2, jobresult: { errorcode: 530 } }));
  assert.equal((await api.client().attachVolume("v", "i", 0)).instanceId, "i");
});

for (const [how, answer] of Object.entries({
  "that nobody knows any more": { errorcode: 431, errortext: "Unable to find job" },
  "that broke off with the server": { jobstatus: 2, jobresulttype: "object" },
})) {
  test(`after a job ${how}, what is there decides: asked for again only where it is not`, async (t) => {
    for (const carriedOut of [true, false]) {
      const { api, volumes } = await withVolumes(t);
      volumes.push(volume("v") as Record<string, unknown>);
      let asked = 0;
      api.on("attachVolume", () => {
        if (++asked === 2 || carriedOut)
          volumes[0] = volume("v", { virtualmachineid: "i" }) as Record<string, unknown>;
        return { jobid: `j${asked}` };
      });
      api.on("queryAsyncJobResult", ({ jobid }) => (jobid === "j1" ? answer : { jobstatus: 1 }));
      await api.client().attachVolume("v", "i");
      assert.equal(asked, carriedOut ? 1 : 2);
    }
  });
}

test("what somebody else is already doing is waited for", async (t) => {
  const api = await ScriptedApi.start(t);
  const states = ["Starting", "Starting", "Running"];
  api.on("listVirtualMachines", () => ({
    virtualmachine: [instance("i", { state: states.length > 1 ? states.shift() : states[0] })],
  }));
  assert.equal((await api.client().startInstance("i")).state, "Running");
  assert.equal(api.sent("startVirtualMachine").length, 0);
});

test("a volume that is attached elsewhere is neither attached nor detached", async (t) => {
  const { api, volumes } = await withVolumes(t);
  const there = { virtualmachineid: "other", vmname: "db", deviceid: 2 };
  volumes.push(volume("v", there) as Record<string, unknown>);
  const client = api.client();
  await assert.rejects(
    client.attachVolume("v", "i"),
    fails("cloudstack-conflict", /attached to db \(other\) as device 2/),
  );
  await assert.rejects(
    client.detachVolume("v", "i"),
    fails("cloudstack-conflict", /attached to db/),
  );
  assert.equal(api.sent("attachVolume").length + api.sent("detachVolume").length, 0);
});

test("an instance is deployed once, not started, with its cards in one list", async (t) => {
  const api = await ScriptedApi.start(t);
  const instances: object[] = [];
  api.on("listVirtualMachines", () => ({ virtualmachine: instances }));
  api.onWrite("deployVirtualMachine", ({ name }) => void instances.push(instance("i", { name })));
  api.faults.push({ command: "deployVirtualMachine", fault: "lost-after" });
  const spec = {
    name: "web-1a2b3c",
    displayName: "a*(b)!'~ web",
    zoneId: "z",
    offeringId: "o",
    templateId: "t",
    bootType: "UEFI" as const,
    nics: [
      { networkId: "n1", mac: "52:54:00:00:00:01", ip: "192.0.2.7" },
      { networkId: "n2", mac: "52:54:00:00:00:02" },
    ],
    details: { cpuNumber: "2", rootDiskController: "virtio" },
  };
  await api.client().deployInstance(spec);
  await api.client().deployInstance(spec);
  assert.equal(instances.length, 1);
  const [sent] = api.sent("deployVirtualMachine");
  assert.equal(api.sent("deployVirtualMachine").length, 1);
  assert.partialDeepStrictEqual(sent, {
    displayname: "a*(b)!'~ web",
    startvm: "false",
    boottype: "UEFI",
    bootmode: "LEGACY",
    "iptonetworklist[0].networkid": "n1",
    "iptonetworklist[0].mac": "52:54:00:00:00:01",
    "iptonetworklist[0].ip": "192.0.2.7",
    "iptonetworklist[1].networkid": "n2",
    "details[0].cpuNumber": "2",
  });
  assert.equal(sent!["iptonetworklist[1].ip"], undefined);
});

test("two things of one name are never taken for one", async (t) => {
  const { api, volumes } = await withVolumes(t);
  for (const id of ["a", "b"]) volumes.push(volume(id, { name: "x" }) as Record<string, unknown>);
  await assert.rejects(
    api.client().findVolume("x"),
    fails("cloudstack-conflict", /2 volumes called x: a, b/),
  );
});

test("of twins that were never attached one is taken, and making it again deletes the other", async (t) => {
  const { api, volumes } = await withVolumes(t);
  api.onWrite("deleteVolume", ({ id }) => {
    volumes.splice(
      volumes.findIndex((each) => each.id === id),
      1,
    );
  });
  const twin = (id: string, state: string) =>
    volume(id, { name: wanted.name, state }) as Record<string, unknown>;
  volumes.push(twin("b", "Allocated"), twin("a", "Allocated"));
  const client = api.client();
  assert.equal((await client.findVolume(wanted.name))?.id, "a");
  assert.equal(api.sent("deleteVolume").length, 0, "a question deletes nothing");
  assert.equal((await client.createVolume(wanted)).id, "a");
  assert.deepEqual(
    api.sent("deleteVolume").map(({ id }) => id),
    ["b"],
  );
  volumes.push(twin("z", "Ready"));
  assert.equal((await client.createVolume(wanted)).id, "z", "it may hold something");
  assert.deepEqual(
    volumes.map(({ id }) => id),
    ["z"],
  );
});

test("what could not be found once is asked for again the next time", async (t) => {
  const api = await ScriptedApi.start(t);
  api.on("listZones", () => ({ errorcode: 431, errortext: "not now" }));
  const client = api.client();
  await assert.rejects(client.zone(), fails("cloudstack-parameter", /not now/));
  api.on("listZones", () => ({ zone: [{ id: "z", name: "zone1" }] }));
  assert.equal((await client.zone()).id, "z");
});

test("a job that goes on too long is given up, and its effect is still found", async (t) => {
  const { api, volumes } = await withVolumes(t);
  volumes.push(volume("v") as Record<string, unknown>);
  api.on("attachVolume", () => ({ jobid: "j" }));
  api.on("queryAsyncJobResult", () => ({ jobstatus: 0 }));
  const client = api.client({ jobDeadlineMs: 50 });
  await assert.rejects(
    client.attachVolume("v", "i"),
    fails("cloudstack-answer-lost", /did not end/),
  );
  api.on("queryAsyncJobResult", () => {
    volumes[0] = volume("v", { virtualmachineid: "i" }) as Record<string, unknown>;
    return { jobstatus: 0 };
  });
  assert.equal((await client.attachVolume("v", "i")).instanceId, "i");
  assert.equal(api.sent("attachVolume").length, 2);
});

for (const [errorcode, code] of [
  [401, "cloudstack-login"],
  [431, "cloudstack-parameter"],
  [432, "cloudstack-permission"],
  [530, "cloudstack-fault"],
  [531, "cloudstack-permission"],
  [533, "cloudstack-capacity"],
  [535, "cloudstack-limit"],
] as const) {
  test(`error ${errorcode} of the API is ${code}, with CloudStack's own words`, async (t) => {
    const { api } = await withVolumes(t);
    api.on("createVolume", () => ({ errorcode, errortext: "it says no" }));
    await assert.rejects(
      api.client().createVolume(wanted),
      fails(code, /could not create volume migratekit-web: it says no/),
    );
    assert.equal(api.sent("createVolume").length, 1);
  });
}

test("what is not CloudStack's API, or is not there, is called so", async (t) => {
  const api = await ScriptedApi.start(t);
  api.faults.push({
    command: "listZones",
    fault: (response) => void response.writeHead(200).end("<html>Welcome</html>"),
  });
  await assert.rejects(
    api.client().zone(),
    fails("cloudstack-protocol", /status 200 and "<html>Welcome/),
  );
  const nobody = api.client({ endpoint: "http://127.0.0.1:1/client/api", patienceMs: 10 });
  await assert.rejects(nobody.zone(), fails("cloudstack-unreachable", /127\.0\.0\.1:1/));
  api.on("listZones", () => ({ zone: [{ id: 7, name: ["x"] }] }));
  await assert.rejects(
    api.client().zone(),
    fails("cloudstack-protocol", /a zone whose name is \["x"\]/),
  );
});

test("a server whose clock goes before ours by an hour is asked again with its own time", async (t) => {
  const api = await ScriptedApi.start(t);
  api.aheadMs = 3_600_000;
  api.on("listZones", ({ expires }) => {
    const late = Date.parse(expires!.replace("+0000", "Z")) < Date.now() + api.aheadMs;
    return late
      ? { errorcode: 401, errortext: "unable to verify user credentials" }
      : { zone: [{ id: "z", name: "zone1" }] };
  });
  assert.equal((await api.client({ validMs: 60_000 }).zone()).name, "zone1");
  api.aheadMs = 0;
  api.on("listZones", () => ({ errorcode: 401, errortext: "unable to verify user credentials" }));
  await assert.rejects(api.client().zone(), fails("cloudstack-login", /unable to verify/));
});

test("what a flag names is found by name or id, and what is not there is told with what is", async (t) => {
  const api = await ScriptedApi.start(t);
  api.on("listServiceOfferings", () => ({
    serviceoffering: [
      { id: "o1", name: "small", cpunumber: 1, memory: 512, iscustomized: false },
      {
        ...{ id: "o2", name: "custom", iscustomized: true },
        serviceofferingdetails: { mincpunumber: "1", maxcpunumber: "8", maxmemory: "65536" },
      },
    ],
  }));
  const client = api.client();
  assert.equal((await client.offering("o1")).memoryMiB, 512);
  assert.deepEqual((await client.offering("custom")).bounds, {
    cpusMin: 1,
    cpusMax: 8,
    memoryMiBMin: undefined,
    memoryMiBMax: 65536,
  });
  await assert.rejects(
    client.offering("huge"),
    (error) =>
      fails(
        "cloudstack-not-found",
        /--cloudstack-offering huge: no such compute offering/,
      )(error) && /custom, small/.test((error as MigratekitError).remedy),
  );
});

test("the appliance is the instance with a network card of this machine", async (t) => {
  const api = await ScriptedApi.start(t);
  const mac = Object.values(networkInterfaces())
    .flatMap((each) => each ?? [])
    .find(({ internal }) => !internal)?.mac;
  const nic = (macaddress: string) => [{ id: "n", macaddress, isdefault: true }];
  const instances = [instance("a", { nic: nic("02:00:00:00:00:09") })];
  api.on("listVirtualMachines", () => ({ virtualmachine: instances }));
  await assert.rejects(
    api.client().appliance("auto"),
    fails("cloudstack-not-found", /auto: no instance/),
  );
  if (mac === undefined) return t.skip("this machine has no network card");
  instances.push(instance("me", { nic: nic(mac.toUpperCase()) }));
  assert.equal((await api.client().appliance("auto")).id, "me");
});

test("a signal ends the waiting for a job with its own reason", async (t) => {
  const { api, volumes } = await withVolumes(t);
  volumes.push(volume("v") as Record<string, unknown>);
  const controller = new AbortController();
  api.on("attachVolume", () => ({ jobid: "j" }));
  api.on("queryAsyncJobResult", () => {
    setImmediate(() => controller.abort(new Error("enough")));
    return { jobstatus: 0 };
  });
  await assert.rejects(api.client({}, controller.signal).attachVolume("v", "i"), /^Error: enough$/);
});
